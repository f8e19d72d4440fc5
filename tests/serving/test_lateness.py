"""A worker that is late itself does not take that for a slow Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.lateness import Lateness
from serving.settings import Settings
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

Story = Callable[[Store], Awaitable[None]]


@pytest.fixture
def counted(redis_server: Any, run_apart: Any) -> Callable[[Story], tuple[bool, dict[str, float]]]:
    """Runs a story with a store whose Redis has 0.1 s; whether it is up in the end, and what was counted."""

    async def play(story: Story) -> tuple[bool, dict[str, float]]:
        telemetry = Telemetry()
        store = Store(redis_server.url, Settings(redis_timeout_s=0.1), telemetry)
        store.mark_up()
        for _ in range(3):  # connections are opened, and whoever starts is not measured
            await store.stamp("u")
        try:
            await story(store)
            names = ("failures", "unheard")
            of = {
                name: telemetry.registry.get_sample_value(f"recsys_redis_{name}_total", {"tenant": ""})
                for name in names
            }
            return store.up, {name: value or 0.0 for name, value in of.items()}
        finally:
            await store.close()

    return lambda story: run_apart(play(story))


async def asked(store: Store) -> None:
    with pytest.raises(StoreDownError):
        await store.stamp("u")


def test_timeouts_of_a_loop_that_is_blocked_do_not_stop_a_worker_asking_a_healthy_redis(
    counted: Any, redis_server: Any
) -> None:
    async def story(store: Store) -> None:
        for _ in range(6):
            with redis_server.standing_still():
                asking = asyncio.create_task(asked(store))
                await asyncio.sleep(0.02)  # by now it is asked
            time.sleep(0.25)  # and answered
            await asking

    up, counts = counted(story)
    assert up
    assert counts == {"failures": 0, "unheard": 6}


def test_a_redis_that_does_not_answer_is_left_alone_after_three_timeouts(counted: Any, redis_server: Any) -> None:
    async def story(store: Store) -> None:
        with redis_server.standing_still():
            for _ in range(3):
                assert store.up
                await asked(store)

    up, counts = counted(story)
    assert not up
    assert counts == {"failures": 3, "unheard": 0}


def test_a_redis_that_does_not_answer_is_left_alone_by_a_loop_that_is_often_blocked_too(
    counted: Any, redis_server: Any
) -> None:
    async def often_blocked() -> None:
        while True:
            time.sleep(0.07)
            await asyncio.sleep(0.03)

    async def story(store: Store) -> None:
        with redis_server.standing_still():
            busy = asyncio.create_task(often_blocked())
            for _ in range(40):
                if store.up:
                    await asked(store)
            busy.cancel()

    up, counts = counted(story)
    assert not up
    assert counts["unheard"] > 3


def test_the_share_of_a_wait_in_which_a_loop_listened_is_told_to_a_beat(run_apart: Any) -> None:
    async def story() -> list[float]:
        lateness, heard = Lateness(), []
        for blocked_s in (0.0, 0.3):
            begun = lateness.begin()
            await asyncio.sleep(0.1)
            time.sleep(blocked_s)
            heard.append(lateness.heard(begun))
            lateness.end()
        return heard

    listened, blocked = run_apart(story())
    assert listened > 0.7
    assert blocked == pytest.approx(0.25, abs=0.08)
