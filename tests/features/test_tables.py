from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.batches import TableFile
from features.shop.tables import find_table, read_table


def read(path: Path, content: str | bytes = "") -> tuple[pd.DataFrame, Quarantine]:
    if content:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    quarantine = Quarantine()
    return read_table(path, quarantine=quarantine), quarantine


def refused_rows(quarantine: Quarantine) -> list[int | None]:
    return [refusal.row for refusal in quarantine.refusals]


def test_a_csv_row_of_another_length_is_refused_and_the_others_keep_their_positions(tmp_path: Path) -> None:
    frame, quarantine = read(tmp_path / "items.csv", 'a,b\n1,2\n3\n4,5,6\n"x\ny",7\n')
    assert frame.index.tolist() == [0, 3]
    assert frame["a"].tolist() == ["1", "x\ny"]
    assert refused_rows(quarantine) == [1, 2]
    assert all("as many cells as the header (2)" in refusal.rule for refusal in quarantine.refusals)


def test_csv_cells_stay_text_so_that_ids_keep_their_zeros_and_na_is_a_word(tmp_path: Path) -> None:
    frame, _ = read(tmp_path / "items.csv", "\ufeffitem_id, title\n007,NA\n8,\n")
    assert list(frame.columns) == ["item_id", "title"]
    assert frame["item_id"].tolist() == ["007", "8"]
    assert frame["title"].isna().tolist() == [False, True]


def test_a_csv_file_of_one_column_may_hold_an_empty_cell(tmp_path: Path) -> None:
    frame, _ = read(tmp_path / "users.csv", "user_id\na\n\nb\n")
    assert frame["user_id"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n\xff\xff,1\n", b"a,a\n1,2\n"])
def test_what_is_no_csv_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "items.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"items\.csv"):
        read_table(tmp_path / "items.csv", quarantine=Quarantine())


def test_a_line_that_is_no_json_object_is_refused_with_its_position(tmp_path: Path) -> None:
    content = '{"a": 1}\n\n[1]\n{broken\n{"a": 2, "b": "x"}\n{"a": "\\ud800"}\n'
    frame, quarantine = read(tmp_path / "items.jsonl", content)
    assert frame.index.tolist() == [0, 4]
    assert frame["a"].tolist() == [1, 2]
    assert refused_rows(quarantine) == [2, 3, 5]


def test_nan_in_json_is_told_apart_from_null(tmp_path: Path) -> None:
    frame, _ = read(tmp_path / "i.jsonl", '{"v": NaN}\n{"v": null}\n{"v": 2.5}\n')
    values, bad = cells.numbers(frame["v"])
    np.testing.assert_array_equal(values, [np.nan, np.nan, 2.5])
    assert bad.tolist() == [True, False, False]


def test_nan_in_parquet_is_told_apart_from_null(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": pa.array([float("nan"), None, 2.5])}), tmp_path / "i.parquet")
    frame, _ = read(tmp_path / "i.parquet")
    values, bad = cells.numbers(frame["v"])
    np.testing.assert_array_equal(values, [np.nan, np.nan, 2.5])
    assert bad.tolist() == [True, False, False]


def test_whole_numbers_beside_a_null_are_no_floats(tmp_path: Path) -> None:
    big = 2**60 + 1
    pq.write_table(pa.table({"id": pa.array([big, None])}), tmp_path / "i.parquet")
    frame, _ = read(tmp_path / "i.parquet")
    codes, ids = cells.coded_ids(frame["id"])
    assert codes.tolist() == [0, -1]
    assert ids == [str(big)]


def test_ids_of_any_type_become_text(tmp_path: Path) -> None:
    def ids(values: object) -> tuple[list[int], list[str]]:
        codes, found = cells.coded_ids(pd.Series(values))
        return codes.tolist(), found

    assert ids([3, 5, 3]) == ([0, 1, 0], ["3", "5"])
    assert ids([12.0, float("nan"), 1.5]) == ([0, -1, 1], ["12", "1.5"])
    assert ids([" ü ", "ü", "", None]) == ([0, 0, -1, -1], ["ü"])
    assert ids(pd.Categorical(["b", "a", None], categories=["a", "b", "unused"])) == ([0, 1, -1], ["b", "a"])
    assert ids([b"x", 7, "7"]) == ([0, 1, 1], ["x", "7"])
    assert ids(pd.Series([["x"], {"a": 1}, np.array([1]), "y"], dtype="object")) == ([-1, -1, -1, 0], ["y"])


def test_row_labels_that_pandas_wrote_are_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2, 3]}).iloc[[2, 0, 1]].to_parquet(tmp_path / "i.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "i.parquet").names
    assert read(tmp_path / "i.parquet")[0].columns.tolist() == ["a"]


def test_a_table_may_be_there_once(tmp_path: Path) -> None:
    assert find_table(tmp_path, "items") is None
    (tmp_path / "items.csv").touch()
    assert find_table(tmp_path, "items") == tmp_path / "items.csv"
    (tmp_path / "items.jsonl").touch()
    with pytest.raises(InputError, match=r"items\.csv and items\.jsonl"):
        find_table(tmp_path, "items")


def test_a_broken_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match=r"items\.parquet cannot be read"):
        read_table(tmp_path / "items.parquet", quarantine=Quarantine())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('a,one\nb,"two\nc,three\nd,four\n', "row 1 runs on from line 3 to line 5"),
        ('a,one\nb,"two\nc,three 3" wide\nd,"four"\n', "row 1 runs on from line 3 to line 4"),
    ],
    ids=["to the end", "to the next quote"],
)
def test_a_quote_that_swallows_rows_is_told_with_its_lines(tmp_path: Path, rows: str, said: str) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n" + rows)
    for read in (
        lambda: read_table(tmp_path / "items.csv", quarantine=Quarantine()),
        lambda: list(TableFile(tmp_path / "items.csv").batches(["title"], quarantine=Quarantine())),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            read()


def test_cells_of_several_lines_and_quotes_that_mean_inches_are_read(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text('item_id,title\na,"one\n""1"", of\nthree"\nb,2" nail\nc,"3" nail\nd,"4"\n')
    read = read_table(tmp_path / "items.csv", quarantine=Quarantine())
    assert read["title"].tolist() == ['one\n"1", of\nthree', '2" nail', "3 nail", "4"]
