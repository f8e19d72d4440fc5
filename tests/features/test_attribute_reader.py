from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.shop.attribute_reader import AttributeNotes, read_attributes
from features.shop.config import AttributesConfig


def read(values: object, config: AttributesConfig | None = None) -> tuple[dict[int, list[str]], AttributeNotes]:
    """Values by row of one column named "it"."""
    found, notes = read_attributes(pd.DataFrame({"it": values}), config or AttributesConfig())
    by_row: dict[int, list[str]] = {}
    for row, value in zip(found.row_idx.tolist(), found.value.tolist(), strict=True):
        by_row.setdefault(row, []).append(value)
    return by_row, notes


PATH = AttributesConfig(paths=("it",))


def test_lists_of_any_kind_are_many_values_each_once() -> None:
    cells = pd.Series([["x", "y", "x"], np.array(["y", None, " "]), ("z",), None, []], dtype="object")
    assert read(cells)[0] == {0: ["x", "y"], 1: ["y"], 2: ["z"]}


@pytest.mark.parametrize("cell", ['["a", "b"]', "['a', 'b']"])
def test_text_that_spells_a_list_is_one(cell: str) -> None:
    assert read([cell, "[]"])[0] == {0: ["a", "b"]}


def test_text_is_split_only_where_the_shop_says_so() -> None:
    assert read(["a|b", "c"])[0] == {0: ["a|b"], 1: ["c"]}
    assert read(["a|b ", "c"], AttributesConfig(separators={"it": "|"}))[0] == {0: ["a", "b"], 1: ["c"]}


def test_a_path_is_stored_as_its_prefixes() -> None:
    expected = {0: ["A", "A > B", "A > B > C"], 1: ["A"]}
    assert read(pd.Series([["A", "B", "C"], ["A"]]), PATH)[0] == expected
    assert read(["A > B > C", "A"], PATH)[0] == expected
    assert read(pd.Series([["A", "B", "C"], "A"]), PATH)[0] == expected
    assert read(pd.Series([[["A", "B"], ["A", "C"]]]), PATH)[0] == {0: ["A", "A > B", "A > C"]}


def test_whole_numbers_few_enough_are_values() -> None:
    assert read([1999, 2000, 1999])[0] == {0: ["1999"], 1: ["2000"], 2: ["1999"]}
    assert read([36.0, np.nan, 42.0])[0] == {0: ["36"], 2: ["42"]}
    assert read(["36", None, "42"])[0] == {0: ["36"], 2: ["42"]}
    assert read([7.5, 8.0])[0] == {0: ["7.5"], 1: ["8"]}
    assert read(["007", "7"])[0] == {0: ["007"], 1: ["7"]}


@pytest.mark.parametrize("scale", [1, 0.5])
def test_many_different_numbers_are_binned_by_quantiles_and_named(scale: float) -> None:
    by_row, notes = read((np.arange(1000) * scale).tolist())
    counts = pd.Series([value for [value] in by_row.values()]).value_counts()
    assert len(counts) == 10
    assert counts.between(99, 101).all()
    assert "1,000 different numbers in 10 ranges" in notes.binned["it"]
    low, high = (float(edge) for edge in by_row[500][0].split(" to "))
    assert low <= 500 * scale <= high


def test_mixed_numbers_with_few_edges_still_fall_into_a_range() -> None:
    values = [0.25] * 500 + list(np.linspace(0.5, 1, 30))
    by_row, _ = read(values)
    assert len(by_row) == 530


def test_truth_values_and_dates() -> None:
    assert read([True, False])[0] == {0: ["true"], 1: ["false"]}
    by_row, notes = read(pd.Series(pd.to_datetime(["1999-05-01", None, "2001-01-01"])))
    assert by_row == {0: ["1999"], 2: ["2001"]}
    assert "year" in notes.binned["it"]


def test_columns_that_tell_nothing_in_common_are_left_out_and_named() -> None:
    assert "identifies" in read([f"https://x/{n}" for n in range(200)])[1].left_out["it"]
    assert "prose" in read([f"{n} " + "word " * 100 for n in range(5)])[1].left_out["it"]
    for cell in ({"a": 1}, [{"a": 1}]):
        assert read(pd.Series([None, cell], dtype="object"))[1].left_out == {"it": "holds objects"}
    assert read_attributes(pd.DataFrame({"": ["x"]}), AttributesConfig())[1].left_out == {"": "has no name"}
    by_row, notes = read(["x"], AttributesConfig(leave_out=("it",)))
    assert (by_row, list(notes.left_out)) == ({}, ["it"])
    assert read([f"brand {n % 50}" for n in range(200)])[1].left_out == {}


def test_facts_are_ordered_by_row_then_column() -> None:
    frame = pd.DataFrame({"b": ["1x", "2x"], "a": ["3x", "4x"]}, index=[10, 20])
    found, _ = read_attributes(frame, AttributesConfig())
    assert list(zip(found.row_idx.tolist(), found.name.tolist(), found.value.tolist(), strict=True)) == [
        (0, "b", "1x"),
        (0, "a", "3x"),
        (1, "b", "2x"),
        (1, "a", "4x"),
    ]
