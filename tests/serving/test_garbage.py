"""A worker looks through all it holds when little is asked of it, and in the end at any moment."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from serving import garbage
from serving.garbage import LATEST_S, LEAST_S, look_for_garbage
from serving.steady import NEVER


@pytest.mark.parametrize(("busy", "after_s"), [(0.05, LEAST_S), (0.5, LATEST_S)])
def test_garbage_is_looked_for_at_a_quiet_moment_after_a_minute_or_after_an_hour(
    busy: float, after_s: float, monkeypatch: pytest.MonkeyPatch, run_apart: Any
) -> None:
    now_s, looks = 0.0, list[float]()

    def look() -> int:
        looks.append(now_s)
        return 0

    async def second(closing: asyncio.Event, _: float) -> bool:
        nonlocal now_s
        now_s += 1
        return now_s > 2.5 * after_s

    monkeypatch.setattr(garbage, "passed", second)
    monkeypatch.setattr(garbage.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(garbage.time, "process_time", lambda: busy * now_s)
    monkeypatch.setattr(gc, "collect", look)
    monkeypatch.setattr(gc, "get_threshold", lambda: (700, 3, NEVER))

    async def run() -> None:
        await look_for_garbage(asyncio.Event())

    run_apart(run())
    assert looks == [after_s + 1, 2 * after_s + 2]


def test_nothing_is_looked_through_where_python_does_so_by_itself(
    monkeypatch: pytest.MonkeyPatch, run_apart: Any
) -> None:
    monkeypatch.setattr(garbage, "LEAST_S", -1.0)
    monkeypatch.setattr(gc, "collect", lambda: pytest.fail("everything was looked through"))

    async def run() -> None:
        async with asyncio.timeout(10):
            await look_for_garbage(asyncio.Event(), every_s=0.0)  # ends at once

    run_apart(run())
