"""A worker learns which users were forgotten, and forgets no more than that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serving.events import Event
from serving.items.keeper import ItemKeeper
from serving.items.maker import CatalogMaker
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.memory import WorkerMemory
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry
from serving.watcher import Watcher

Look = Callable[[], Awaitable[None]]


def event(event_id: str, user_id: str = "u") -> Event:
    return Event(event_id, user_id, f"i{event_id}", "view", 1.0, None)


@pytest.fixture
def memory() -> WorkerMemory:
    return WorkerMemory(users_cap=10, pending_cap=10, recent_cap=10)


@pytest.fixture
def with_worker(redis_server: Any, memory: WorkerMemory) -> Callable[[Callable[[Look], Awaitable[None]]], None]:
    """Runs a story with a worker's way to look at Redis, in a thread: a browser's event loop may hold this one."""

    async def play(story: Callable[[Look], Awaitable[None]]) -> None:
        settings, telemetry = Settings(redis_timeout_s=5.0), Telemetry()
        store = Store(redis_server.url, settings, telemetry)
        try:
            shelf = ItemShelf(store)
            keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry)
            await story(Watcher(store, memory, keeper, settings, telemetry).look)
        finally:
            await store.close()

    def run(story: Callable[[Look], Awaitable[None]]) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(play(story))).result()

    return run


def forget(redis_server: Any, user_id: str, *, seconds_ago: float = 0.0) -> None:
    """As another worker does it."""
    with redis_server.client() as client:
        client.xadd(Keys().forgotten, {"user_id": user_id}, id=f"{int((time.time() - seconds_ago) * 1000)}-0")


def applied(redis_server: Any) -> list[bytes]:
    with redis_server.client() as client:
        return [fields[b"event_id"] for _, fields in client.xrange(Keys().events)]


@pytest.mark.parametrize("looked_before", [False, True])
def test_a_deletion_before_an_event_leaves_it_standing(
    with_worker: Any, redis_server: Any, memory: WorkerMemory, looked_before: bool
) -> None:
    forget(redis_server, "u", seconds_ago=60)

    async def story(look: Look) -> None:
        if looked_before:
            await look()
        memory.hold([event("1")])
        await look()

    with_worker(story)
    assert applied(redis_server) == [b"1"]
    assert [past.item_id for past in memory.state("u").recent] == ["i1"]


@pytest.mark.parametrize("looked_before", [False, True])
def test_a_deletion_takes_the_held_events_before_it_and_no_later_or_other_ones(
    with_worker: Any, redis_server: Any, memory: WorkerMemory, looked_before: bool
) -> None:
    async def story(look: Look) -> None:
        if looked_before:
            await look()
        memory.hold([event("1"), event("2", "other")])
        await asyncio.sleep(0.01)
        forget(redis_server, "u")
        await asyncio.sleep(0.01)
        forget(redis_server, "third")
        await asyncio.sleep(0.01)
        memory.hold([event("3")])
        await look()

    with_worker(story)
    assert applied(redis_server) == [b"2", b"3"]
    assert [past.item_id for past in memory.state("u").recent] == ["i3"]
