"""Events in time: what was before a moment, and in which order users met items."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from features.interactions import Interactions
from tests.events import events_of

TIMED = replace(
    events_of([(0, 2), (1, 0), (0, 1), (0, 2), (1, 2)], n_users=3, n_items=3, weight=[1, 2, 3, 4, 5]),
    timestamp=np.array([30.0, 10.0, 20.0, 10.0, 10.0]),
)


def test_before_a_moment_is_strictly_before_it() -> None:
    assert TIMED.before(20.0).weight.tolist() == [2, 4, 5]
    assert TIMED.before(10.0).weight.tolist() == []
    with pytest.raises(ValueError, match="carry no timestamp"):
        replace(TIMED, timestamp=None).before(20.0)


def test_users_met_items_in_the_order_of_time_else_of_the_file() -> None:
    def met(events: Interactions) -> list[list[int]]:
        start, items = events.met()
        return [items[begin:end].tolist() for begin, end in pairwise(start.tolist())]

    assert met(TIMED) == [[2, 1], [0, 2], []]  # u0 met i2 at 10 and again at 30
    assert met(replace(TIMED, timestamp=np.array([30.0, 10.0, 20.0, 40.0, 5.0]))) == [[1, 2], [2, 0], []]
    assert met(replace(TIMED, timestamp=None)) == [[2, 1], [0, 2], []]


def test_the_matrix_sums_the_weights_of_a_pair() -> None:
    assert TIMED.matrix().toarray().tolist() == [[0, 3, 5], [2, 0, 5], [0, 0, 0]]
    assert TIMED.matrix(binary=True).toarray().tolist() == [[0, 1, 1], [1, 0, 1], [0, 0, 0]]
