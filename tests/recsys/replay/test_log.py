from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recsys.replay.log import Log


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("propensity", [0.5, 0.0], r"propensity must be in \(0, 1\], row 1 has 0.0"),
        ("propensity", [0.5, 1.5], "row 1 has 1.5"),
        ("propensity", [0.5, np.nan], "row 1 has nan"),
        ("position", [0, -1], "position must be"),
        ("group", [0, 1], r"group must be in \[0, 1\), row 1 has 1"),
        ("request", [1, 0], "requests must be in order, row 1 has 0"),
        ("user", [1], "user_idx must have a row a slot"),
    ],
)
def test_an_impossible_value_is_named(make_log: Callable[..., Log], column: str, value: list[float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make_log([0, 1], [0, 1], **{column: value})


def test_a_reward_that_is_no_number_and_an_unknown_item_are_named(make_log: Callable[..., Log]) -> None:
    with pytest.raises(ValueError, match="reward must be finite, row 0 has nan"):
        make_log([0], [np.nan])
    with pytest.raises(ValueError, match=r"item_idx must be in \[0, 3\), row 0 has 3"):
        make_log([3], [0])


def test_chunks_hold_every_row_once_and_never_cut_a_request(make_log: Callable[..., Log]) -> None:
    request = [0, 0, 0, 1, 2, 2, 2, 2, 3]
    log = make_log([0] * 9, range(9), request=request, position=[0, 1, 2, 0, 0, 1, 2, 3, 0])
    parts = list(log.chunks(2))
    assert [part.request_idx.tolist() for part in parts] == [[0, 0, 0], [1, 2, 2, 2, 2], [3]]
    assert np.concatenate([part.reward for part in parts]).tolist() == list(range(9))
    assert [part.start for part in parts] == [0, 3, 8]
    assert log.n_requests == 4
    assert log.is_ranked


def test_slots_of_one_request_share_a_fold_and_cells_count_position_then_group(make_log: Callable[..., Log]) -> None:
    request = np.repeat(np.arange(500), 2)
    group = np.repeat(np.arange(500) % 2, 2)
    log = make_log([0] * 1000, [0] * 1000, request=request, position=[0, 1] * 500, group=group, groups=("a", "b"))
    rows = log.rows(slice(0, 1000))
    assert (rows.fold[::2] == rows.fold[1::2]).all()
    assert np.bincount(rows.fold).min() > 150
    assert rows.cell[:4].tolist() == [0, 2, 1, 3]


def test_a_masked_log_keeps_its_columns_together(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1, 2], [1, 2, 3], others={"revenue": np.array([10.0, 20.0, 30.0])})
    part = log.where(np.array([True, False, True]), name="part")
    assert (part.name, part.item_idx.tolist(), part.others["revenue"].tolist()) == ("part", [0, 2], [10, 30])
