"""Work beside requests goes on for as long as the worker lives, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Bundle
from serving import again, app, policing
from serving.again import lasting
from serving.appeal import AppealKeeper
from serving.counters import Counters
from serving.erasing import Eraser
from serving.guard import Guard
from serving.history.watch import HistoryWatch
from serving.impressions import ImpressionLog
from serving.items.keeper import ItemKeeper
from serving.publishing import Publisher
from serving.restoring import Restorer
from serving.shadow.worker import Shadow
from serving.telemetry import Telemetry
from serving.watcher import Watcher
from tests.serving.redis_server import RedisServer
from tests.serving.services import Service


def test_work_that_fails_is_counted_and_begun_anew_until_the_end(
    monkeypatch: pytest.MonkeyPatch, run_apart: Any
) -> None:
    monkeypatch.setattr(again, "PAUSE_S", 0.001)
    telemetry, begun = Telemetry(), list[int]()

    async def run() -> None:
        closing, beside = asyncio.Event(), asyncio.Event()

        async def frail(closing: asyncio.Event) -> None:
            begun.append(len(begun))
            if len(begun) < 4:
                raise ValueError("as nobody foresaw")
            beside.set()
            await closing.wait()
            raise ValueError("once more, at the end")

        async with asyncio.TaskGroup() as group:
            group.create_task(lasting(closing, frail, telemetry))
            await beside.wait()
            closing.set()

    run_apart(run())
    assert begun == [0, 1, 2, 3]
    assert telemetry.registry.get_sample_value("recsys_background_failures_total", {"tenant": ""}) == 4


@pytest.mark.parametrize("fails", [AppealKeeper, Eraser, Guard, HistoryWatch, ItemKeeper, Restorer, Shadow, Watcher])
def test_a_look_that_fails_is_counted_and_looked_again(
    fails: Any,
    monkeypatch: pytest.MonkeyPatch,
    start_service: Callable[..., Service],
    eventually: Callable[..., None],
    *,
    small_bundle: Path,
    redis_server: RedisServer,
) -> None:
    begins = {Restorer: "_look", Shadow: "_look", Watcher: "_hear", Eraser: "work", ItemKeeper: "load"}
    looks, name = list[int](), begins.get(fails, "look")
    look, starts = getattr(fails, name), fails in (ItemKeeper, Watcher)  # these look once at the start, too

    async def fails_once(self: Any, *args: Any, **named: Any) -> Any:
        looks.append(len(looks))
        if len(looks) == 1 + starts:
            raise ValueError("as nobody foresaw")
        return await look(self, *args, **named)

    failing = type("Failing", (fails,), {name: fails_once})  # a service of other tests beside this one keeps its own
    monkeypatch.setattr(again, "PAUSE_S", 0.001)
    monkeypatch.setattr(policing if fails is Guard else app, fails.__name__, failing)
    every = {"appeal_every_s": 0.01, "erase_every_s": 0.01}
    service = start_service(bundle=small_bundle, redis_url=redis_server.url, **every)
    eventually(lambda: len(looks) > 1 + starts)
    assert service.metric("recsys_background_failures_total") == 1


def test_counting_that_fails_does_not_tear_the_look_at_rules(
    *,
    monkeypatch: pytest.MonkeyPatch,
    start_service: Callable[..., Service],
    redis_server: RedisServer,
    small_bundle: Path,
    eventually: Callable[..., None],
) -> None:
    guarding, counting, run = list[int](), list[int](), Guard.run

    async def guards(guard: Guard, closing: asyncio.Event) -> None:
        guarding.append(1)
        await run(guard, closing)

    async def fails(_: Counters, closing: asyncio.Event) -> None:
        counting.append(1)
        raise ValueError("as nobody foresaw")

    monkeypatch.setattr(again, "PAUSE_S", 0.001)
    monkeypatch.setattr(Guard, "run", guards)
    monkeypatch.setattr(Counters, "run", fails)
    start_service(bundle=small_bundle, redis_url=redis_server.url)
    eventually(lambda: len(counting) > 2)
    assert len(guarding) == 1


def test_a_service_whose_last_look_fails_ends_as_ever(
    *,
    monkeypatch: pytest.MonkeyPatch,
    start_service: Callable[..., Service],
    redis_server: RedisServer,
    small_bundle: Path,
) -> None:
    service = start_service(bundle=small_bundle, redis_url=redis_server.url)

    async def fails(_: object) -> None:
        raise ValueError("as nobody foresaw")

    monkeypatch.setattr(Watcher, "look", fails)
    monkeypatch.setattr(ImpressionLog, "write", fails)
    assert service.feed("u1")  # that it ends without a failure, whoever started it looks at


def test_a_worker_whose_watch_fails_goes_on_hearing_of_events_and_versions(
    *,
    monkeypatch: pytest.MonkeyPatch,
    start_service: Callable[..., Service],
    redis_server: RedisServer,
    publisher: Publisher,
    small_bundle: Path,
    changed_bundle: Path,
    eventually: Callable[..., None],
) -> None:
    run, begun = Watcher.run, list[Watcher]()

    async def fails_first(watcher: Watcher, closing: asyncio.Event) -> None:
        begun.append(watcher)
        if len(begun) == 1:
            raise ValueError("as nobody foresaw")
        await run(watcher, closing)

    monkeypatch.setattr(Watcher, "run", fails_first)
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(bundle=small_bundle, redis_url=redis_server.url)
    assert service.post({"user_id": "u1", "item_id": "i3", "event_type": "view"}).status_code == 202
    service.feed("u1")
    with redis_server.client() as client:
        eventually(lambda: client.xlen("rs:impressions") == 1)  # other work did not end with it
    version = publisher.publish(Bundle.open(changed_bundle)).version
    eventually(lambda: service.feed("u1")["model_version"] == version)
    assert service.metric("recsys_background_failures_total") == 1
