"""Long work beside requests rests, and only there."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from features import pace
from features.pace import gently, unhurried


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rests that were taken, by a clock that goes on by 1 with each look."""
    taken: list[float] = []
    clock = itertools.count()
    monkeypatch.setattr(pace, "WORK_S", 5)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(pace.time, "sleep", taken.append)
    return taken


def test_unhurried_work_rests_whenever_it_has_worked_for_so_long_and_leaves_nothing_out(rests: list[float]) -> None:
    with unhurried():
        assert list(gently(range(20))) == list(range(20))
    assert rests == [pace.REST_S] * 3  # after 6 values each, as the sixth is the first to end past 5


def test_all_other_work_goes_on_without_a_rest_and_over_the_same_values(rests: list[float]) -> None:
    values = [1, 2, 3]
    with unhurried():
        pass
    assert gently(values) is values
    assert not rests


def test_a_thread_is_unhurried_where_it_was_started_so() -> None:
    async def started() -> tuple[bool, bool]:
        def rests() -> bool:
            return not isinstance(gently([]), list)

        with unhurried():
            within = await asyncio.to_thread(rests)
        return within, await asyncio.to_thread(rests)

    assert asyncio.run(started()) == (True, False)
