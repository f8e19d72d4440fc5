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
    monkeypatch.setattr(pace.Rests, "next_s", lambda _: 7.0)
    return taken


def test_unhurried_work_rests_whenever_it_has_worked_for_so_long_and_leaves_nothing_out(rests: list[float]) -> None:
    with unhurried():
        assert list(gently(range(20))) == list(range(20))
    assert rests == [7.0] * 3  # after 6 values each, as the sixth is the first to end past 5


def test_a_rest_is_the_longer_the_busier_the_process_has_been(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s, at_s = iter([0.0, 0.0, 0.5, 1.5, 4.5]), itertools.count()
    monkeypatch.setattr(pace.time, "process_time", lambda: next(cpu_s))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(at_s))
    rests = pace.Rests()
    found = [rests.next_s() for _ in range(4)]  # idle, half of the time, all of it, several threads
    between = pace.LEAST_REST_S + (pace.MOST_REST_S - pace.LEAST_REST_S) / 4
    assert found == pytest.approx([pace.LEAST_REST_S, between, pace.MOST_REST_S, pace.MOST_REST_S])


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
