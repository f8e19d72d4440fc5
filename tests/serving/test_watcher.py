"""A worker learns which users were forgotten and forgets no more; it follows the version that is wanted last."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving.events import Event
from serving.items.keeper import ItemKeeper
from serving.items.maker import CatalogMaker
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.memory import WorkerMemory
from serving.publishing import Publisher
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


@dataclass
class Opening:
    """Opens bundles as a worker does, but for those of one version, which wait until they may."""

    slow: str
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, bundle: Bundle, **given: Any) -> BundleRecommender:
        if bundle.version == self.slow:
            self.begun.set()
            assert self.go_on.wait(30)
        return BundleRecommender(bundle, **given)


@dataclass
class Worker:
    """A watcher that runs, and what it has switched to so far."""

    watcher: Watcher
    telemetry: Telemetry
    keeper: ItemKeeper
    prepared: list[str]

    async def answers_from(self, version: str) -> None:
        """Wait for that, for ten seconds at most."""
        async with asyncio.timeout(10):
            while self.watcher.live is None or self.watcher.live.version != version:
                await asyncio.sleep(0.01)

    @property
    def switches(self) -> float:
        return float(self.telemetry.registry.get_sample_value("recsys_version_switches_total", {"tenant": ""}) or 0.0)


@pytest.fixture
def while_opening(
    redis_server: Any, tmp_path: Path, small_bundle: Path, changed_bundle: Path, run_apart: Callable[..., Any]
) -> Callable[[Callable[[Worker, Publisher, Path], Awaitable[str]]], Worker]:
    """Runs a story while a worker, which answers from the small bundle, opens the changed one, which takes until the
    story is over. The story says which version is wanted in the end; the worker is given back when it has ended.
    """
    slow = Bundle.open(changed_bundle).version

    async def play(story: Callable[[Worker, Publisher, Path], Awaitable[str]]) -> Worker:
        settings, telemetry, prepared = Settings(redis_timeout_s=5.0, poll_s=0.02), Telemetry(), list[str]()
        store, opening, closing = Store(redis_server.url, settings, telemetry), Opening(slow), asyncio.Event()
        shelf = ItemShelf(store)
        maker = CatalogMaker(shelf, None, telemetry, lambda bundle: prepared.append(bundle.version))
        keeper = ItemKeeper(shelf, maker, telemetry)
        memory = WorkerMemory(users_cap=10, pending_cap=10, recent_cap=10)
        worker = Worker(
            Watcher(store, memory, keeper, settings, telemetry, recommender=opening), telemetry, keeper, prepared
        )
        with redis_server.client() as client:
            publisher = Publisher(client, state_dir=tmp_path / "state", keep=3)
            await asyncio.to_thread(publisher.publish, Bundle.open(small_bundle))
            await worker.watcher.start()
            running = asyncio.create_task(worker.watcher.run(closing))
            try:
                await asyncio.to_thread(publisher.publish, Bundle.open(changed_bundle))
                assert await asyncio.to_thread(opening.begun.wait, 10)
                wanted = await story(worker, publisher, tmp_path)
            finally:
                opening.go_on.set()
                await asyncio.sleep(0.2)  # some looks more
                closing.set()
                await running  # also the opening that was overtaken
                await store.close()
        assert worker.watcher.live is not None
        assert worker.watcher.live.version == worker.keeper.trained.version == wanted
        return worker

    return lambda story: run_apart(play(story))


def test_a_newer_version_is_answered_from_while_the_one_before_it_is_still_being_opened(
    while_opening: Any, small_bundle: Path, changed_bundle: Path, rewritten: Callable[..., Path]
) -> None:
    async def story(worker: Worker, publisher: Publisher, folder: Path) -> str:
        old = Bundle.open(small_bundle)
        newer = rewritten(old, folder / "newer", item_embeddings=2 * np.asarray(old.item_embeddings))
        published = await asyncio.to_thread(publisher.publish, Bundle.open(newer))
        await worker.answers_from(published.version)
        return published.version

    worker = while_opening(story)
    assert worker.switches == 2  # at the start, and to the newer one
    assert Bundle.open(changed_bundle).version not in worker.prepared


def test_a_rollback_while_the_bad_version_is_still_being_opened_leaves_the_worker_where_it_is(
    while_opening: Any, changed_bundle: Path
) -> None:
    async def story(_: Worker, publisher: Publisher, __: Path) -> str:
        _left, returned_to = await asyncio.to_thread(publisher.rollback)
        await asyncio.sleep(0.2)  # some looks, at which the worker hears of it
        return returned_to

    worker = while_opening(story)
    assert worker.switches == 1
    assert Bundle.open(changed_bundle).version not in worker.prepared


def test_a_version_given_up_while_it_was_opened_and_wanted_again_is_answered_from_in_the_end(
    while_opening: Any, changed_bundle: Path
) -> None:
    async def story(_: Worker, publisher: Publisher, __: Path) -> str:
        await asyncio.to_thread(publisher.rollback)
        await asyncio.sleep(0.2)
        return (await asyncio.to_thread(publisher.publish, Bundle.open(changed_bundle))).version

    worker = while_opening(story)
    assert worker.switches == 2
    assert worker.prepared.count(Bundle.open(changed_bundle).version) == 1  # not for the opening that was given up
