from __future__ import annotations

import threading

import pytest

from features.cores import cores
from recsys.threads import n_threads, side_by_side


def test_results_stand_in_the_order_of_the_parts_whoever_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    second = threading.Event()

    def work(part: int) -> int:
        if part == 0:
            assert second.wait(10), "the first part waits for the second, so both must run at a time"
        else:
            second.set()
        return part * part

    assert side_by_side(work, range(4)) == [0, 1, 4, 9]


def test_what_a_part_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="part 3"):
        side_by_side(lambda part: (_ for _ in ()).throw(ValueError(f"part {part}")), [3])


@pytest.mark.parametrize(("told", "expected"), [("3", 3), ("0", 1), ("", None), ("many", None)])
def test_threads_are_as_many_as_the_environment_says_or_as_there_are_cores(
    told: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert n_threads() == (expected or cores())
