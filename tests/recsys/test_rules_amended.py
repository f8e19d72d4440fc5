"""Rules see a catalog that goes on changing as one that had been so from the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from features.pace import unhurried
from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placed
from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.rules.amended import facts_of, trained_facts
from recsys.rules.compiled import Compiled
from recsys.rules.facts import Facts, let_go
from recsys.rules.occasion import Occasion

ASKED = (
    "price < 5",
    "not price < 5",
    "brand = A",
    "brand in (B, C)",
    "not brand = A",
    "title contains new",
    "available",
)
ASKED += ("year >= 2000", "age < 900d", "has(brand)", "item_id in (n0, i1, i2)", "same(brand)", "kind under x")


def display(item_id: str, **more: Any) -> dict[str, Any]:
    plain = {"item_id": item_id, "title": "", "description": "", "price": None, "available": True, "image": None}
    return {**plain, "attributes": {}, **more}


def test_columns_follow_every_change_of_items(make_bundle: Callable[..., Bundle]) -> None:
    attributes = [{"brand": [brand], "year": ["1999"], "added": ["2019-01-01"]} for brand in "AABBCC"]
    bundle = make_bundle(np.eye(6, 2), attributes=attributes)
    trained = trained_facts(bundle)
    amendments = Amendments(bundle, None)
    place = np.array([0.5, 0.5, 0.0], dtype=np.float32)
    changes: list[dict[str, Placed | None]] = [
        {"i1": Placed(display("i1", price=3.0, attributes={"brand": ["A"], "year": ["1999"]}), {})},
        {
            "n0": Placed(
                display("n0", title="A new one", price=4.0, attributes={"brand": ["A", "D"], "kind": ["x > y"]}),
                {},
                place,
            )
        },
        {"i0": None, "i2": Placed(display("i2", available=False, attributes={"brand": ["C"]}), {})},
        {"n0": None, "n1": Placed(display("n1", attributes={"added": ["2020-01-01"], "year": ["2001"]}), {}, place)},
        {"i0": Placed(display("i0", price=9.0, attributes={"Brand": ["b"]}), {})},
    ]
    for change in changes:
        made, _, _ = amendments.apply(change)
        now = facts_of(made, trained)
        gone = {"available": False}
        shown = [gone if row in made.gone else made.display(row) for row in range(len(made))]
        afresh = Facts(made.items, shown)
        assert set(now.attributes) >= {name for name in afresh.attributes if name != "Brand"}
        for text in ASKED:
            occasion = Occasion(1.6e9, page=3)
            assert Compiled(text, now).mask(occasion).tolist() == Compiled(text, afresh).mask(occasion).tolist(), (
                text,
                change,
            )
    assert Compiled("brand = A", trained).mask(Occasion(0.0)).tolist() == [True, True, *[False] * 4]  # as it was
    assert facts_of(bundle, trained) is trained


def test_columns_that_are_let_go_stay_whole_for_whoever_still_answers_by_them(
    make_bundle: Callable[..., Bundle],
) -> None:
    bundle = make_bundle(np.eye(7, 3))
    used = trained_facts(bundle)
    titles = list(used.title)
    left = [used, trained_facts(bundle)]
    with unhurried():
        let_go(left)
    assert left == []
    assert used.title == titles


def test_stored_columns_say_what_the_display_data_say(
    make_bundle: Callable[..., Bundle], small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes: list[dict[str, list[str]]] = [
        {"brand": ["A", "b"], "Size": ["10"]},
        {"Brand": ["a"], "added": ["2020-01-01"], "kind": ["x > y", "x"]},
        {"brand": ["B", "B", "c"], "size": ["4"]},
        {},
    ]
    odd = make_bundle(np.eye(4), attributes=attributes, unavailable=frozenset({2}))
    for bundle in (odd, Bundle.open(small_bundle)):
        afresh = trained_facts(bundle)
        with monkeypatch.context() as patched:
            patched.setattr(Bundle, "display", lambda *_: pytest.fail("display data were read"))
            stored = trained_facts(bundle, texts=False)
        assert (stored.has_texts, stored.title) == (False, [])
        assert stored.attributes == afresh.attributes
        np.testing.assert_array_equal(stored.price, afresh.price)
        assert stored.available.tolist() == afresh.available.tolist()
        for name in afresh.attributes:
            told, known = ({value: rows.tolist() for value, rows in of.values(name).items()} for of in (stored, afresh))
            assert told == known
            assert list(told) == list(known)
    assert np.isfinite(trained_facts(Bundle.open(small_bundle), texts=False).price).any()


def test_columns_of_a_bundle_that_was_written_without_any_are_worked_out(make_bundle: Callable[..., Bundle]) -> None:
    path = make_bundle(np.eye(3), attributes=[{"brand": [brand]} for brand in "AAB"]).path
    older = Bundle.open(path)
    files = {name: entry for name, entry in older.manifest.files.items() if not name.startswith("facts/")}
    older = replace(older, manifest=older.manifest.model_copy(update={"files": files}))
    assert older.columns is None
    facts = trained_facts(older, texts=False)
    assert {value: rows.tolist() for value, rows in facts.values("brand").items()} == {"a": [0, 1], "b": [2]}


def test_stored_columns_that_do_not_fit_are_refused_by_name(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(np.eye(3), attributes=[{"brand": [brand]} for brand in "AAB"])
    path = bundle.path / "facts/columns.safetensors"
    arrays = load_file(path)
    save_file(arrays | {"price": np.zeros(2)}, path)
    with pytest.raises(BundleError, match=r"columns.safetensors: the shape of 'price' must be \(3,\), it is \(2,\)"):
        _ = bundle.columns
    save_file(arrays | {"pointers": np.zeros(0, dtype=np.int64)}, path)
    with pytest.raises(BundleError, match=r"the shape of 'pointers' must be \(3,\), it is \(0,\)"):
        _ = bundle.columns
    path.write_bytes(b"torn")
    with pytest.raises(BundleError, match=r"columns.safetensors: cannot be read"):
        _ = bundle.columns
    save_file(arrays, path)
    for torn in (b"{", b"{}", b"[]", b'{"shown_as": {}, "values": []}'):
        (bundle.path / "facts/columns.json").write_bytes(torn)
        with pytest.raises(BundleError, match=r"cannot be read with columns.json"):
            _ = bundle.columns
