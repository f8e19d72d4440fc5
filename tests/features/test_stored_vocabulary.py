"""A vocabulary in a file says what one in memory says."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.stored_vocabulary import Places, StoredVocabulary
from features.vocabulary import Vocabulary


def stored(ids: list[str]) -> StoredVocabulary:
    return StoredVocabulary.of_file(orjson.dumps(ids), Places.of(ids))


@given(ids=st.lists(st.text(min_size=1), unique=True, max_size=40), others=st.lists(st.text(), max_size=10))
def test_it_answers_as_a_vocabulary_in_memory(ids: list[str], others: list[str]) -> None:
    found, plain = stored(ids), Vocabulary(tuple(ids))
    assert (list(found), len(found)) == (ids, len(ids))
    assert found == plain
    assert [found[row] for row in range(-len(ids), len(ids))] == ids + ids
    assert found.idxs([*ids, *others]).tolist() == plain.idxs([*ids, *others]).tolist()
    assert [one in found for one in others] == [one in plain for one in others]
    assert found.fingerprint == plain.fingerprint
    assert list(found.ids[1:-1]) == ids[1:-1]


def test_ids_are_read_also_where_they_are_more_than_are_read_at_once() -> None:
    ids = [f"sku-{row}" for row in range(5000)]
    found = stored(ids)
    assert list(found) == ids
    assert found.idxs(ids).tolist() == list(range(5000))


def test_what_no_file_can_hold_is_in_none() -> None:
    found = stored(["a", "1", "null"])
    for stranger in ("\ud800", "", '"a"', "b", 1, None):
        assert stranger not in found
    assert found.find("b") == -1
    with pytest.raises(KeyError, match="unknown id 'b'"):
        found.idx("b")
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(IndexError):
        found[-4]


def test_places_of_another_file_are_refused() -> None:
    places = Places.of(["a", "b"])
    with pytest.raises(ValueError, match="must end where their file does, at 14"):
        StoredVocabulary.of_file(orjson.dumps(["a", "b", "cd"]), places)
    with pytest.raises(ValueError, match="buckets must hold 2 ids, they hold 2 of 1"):
        Places(places.starts, places.rows[:1], places.buckets)
    with pytest.raises(ValueError, match="power of 2, it is 3"):
        Places(places.starts, places.rows, places.buckets[[0, 1, 1, 2]])


def test_places_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    for ids in ([], ["a"], ["x", "y", "z"]):
        places = Places.of(ids)
        places.save(tmp_path / "ids.places")
        found = Places.map(tmp_path / "ids.places")
        for name in ("starts", "rows", "buckets"):
            assert getattr(found, name).tolist() == getattr(places, name).tolist()
        assert list(StoredVocabulary.of_file(orjson.dumps(ids), found)) == ids
