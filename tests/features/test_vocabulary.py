from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocabulary import Vocabulary


@given(st.lists(st.text(min_size=1), unique=True))
def test_every_id_comes_back_from_its_row(ids: list[str]) -> None:
    vocabulary = Vocabulary(tuple(ids))
    assert [vocabulary[vocabulary.idx(outside_id)] for outside_id in ids] == ids
    np.testing.assert_array_equal(vocabulary.idxs(ids), np.arange(len(ids)))


def test_absent_ids_have_row_minus_one() -> None:
    np.testing.assert_array_equal(Vocabulary(("a", "b")).idxs(["b", "nobody", "a"]), [1, -1, 0])


def test_asking_for_the_row_of_an_absent_id_names_it() -> None:
    with pytest.raises(KeyError, match="unknown id 'nobody'"):
        Vocabulary(("a",)).idx("nobody")


@pytest.mark.parametrize(("ids", "says"), [(("a", "b", "a"), "'a' appears more than once"), (("a", ""), "row 1 is")])
def test_an_unusable_list_of_ids_is_refused_by_name(ids: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Vocabulary(ids)


def test_the_fingerprint_tells_order_and_boundaries_apart() -> None:
    prints = {Vocabulary(ids).fingerprint for ids in (("ab", "c"), ("a", "bc"), ("c", "ab"))}
    assert len(prints) == 3
