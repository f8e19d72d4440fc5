"""A Redis that lost everything has its version published again, once, and nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from recsys.bundle import Bundle
from serving import restoring
from serving.app import create_app
from serving.keys import Keys
from serving.publish_lock import LOCK_S
from serving.publishing import Publisher
from serving.settings import Settings

SIMILAR = "/v1/items/i3/similar"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "ABSENT_S", 0.3)
    monkeypatch.setattr(restoring, "WATCH_S", 0.05)
    monkeypatch.setattr(restoring, "NICENESS", 0)  # a busy machine would keep the test waiting


@pytest.fixture
def published(mortal_redis: Any, small_bundle: Path, tmp_path: Path) -> str:
    """A Redis with a version; which."""
    with mortal_redis.client() as client:
        return Publisher(client, state_dir=tmp_path / "publisher").publish(Bundle.open(small_bundle)).version


@pytest.fixture
def start_worker(
    start_service: Callable[..., Any], mortal_redis: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> Callable[..., Any]:
    """Starts workers by name; unless said otherwise they have seen Redis name a version."""

    def start(name: str = "one", *, sees: bool = True, **given: Any) -> Any:
        own = {"bundle": small_bundle, "redis_url": mortal_redis.url, "state_dir": tmp_path / name}
        worker = start_service(**{**own, **given})
        if sees:
            eventually((tmp_path / name / "published.json").exists)
        return worker

    return start


def restores(outcome: str, *workers: Any) -> float:
    return sum(worker.metric("recsys_restores_total", outcome=outcome) for worker in workers)


def test_two_workers_publish_a_lost_version_once_and_answer_all_the_while(
    published: str, mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    workers = [start_worker("one"), start_worker("two")]
    before = workers[0].get(SIMILAR).json()
    with mortal_redis.client() as client:
        names = sorted(client.scan_iter(match=Keys().of_version(published)))
        mortal_redis.forget_everything()
        stores: list[str] = []
        end = time.monotonic() + 30
        while stores[-2:] != ["redis", "redis"]:
            assert time.monotonic() < end, "the version did not come back"
            for worker in workers:
                similar, feed = worker.get(SIMILAR).json(), worker.feed("u1")
                stores.append(similar["store"])
                assert [slot["item"] for slot in similar["recommendations"]] == [
                    slot["item"] for slot in before["recommendations"]
                ]
                assert feed["source"] == ("personalized" if feed["store"] == "bundle" else "published")
                assert len(feed["recommendations"]) == 12
        assert "bundle" in stores
        eventually(lambda: restores("done", *workers) == 1)
        eventually(lambda: not client.exists(Keys().restoring, Keys().publishing))
        assert client.get(Keys().current) == published.encode()
        assert sorted(client.scan_iter(match=Keys().of_version(published))) == names
    time.sleep(0.5)  # time for the other one to do it again
    assert (restores("started", *workers), restores("failed", *workers)) == (1, 0)


@pytest.fixture
def worker_before(published: str, mortal_redis: Any, run_apart: Any, tmp_path: Path) -> None:
    """A worker called "one" that saw Redis name a version, and has ended."""

    async def until_noted() -> None:
        app = create_app(Settings(redis_url=mortal_redis.url, state_dir=tmp_path / "one", poll_s=0.05))
        async with app.router.lifespan_context(app):
            while not (tmp_path / "one" / "published.json").exists():
                await asyncio.sleep(0.02)

    run_apart(until_noted())


@pytest.mark.usefixtures("worker_before")
def test_a_worker_that_starts_after_the_loss_knows_of_the_version_and_waits_for_a_dead_one_s_lease_to_end(
    published: str, mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    mortal_redis.forget_everything()
    with mortal_redis.client() as client:
        client.set(Keys().restoring, "a worker that died at it", px=1500)
        worker = start_worker("one")
        time.sleep(0.8)  # the version is taken for lost after 0.3 s
        assert (worker.get(SIMILAR).json()["store"], restores("started", worker)) == ("bundle", 0)
        eventually(lambda: client.get(Keys().current) == published.encode(), within_s=30)
        assert worker.get(SIMILAR).json()["store"] == "redis"
        assert restores("started", worker) == 1


def test_where_nothing_was_ever_published_or_somebody_publishes_or_it_is_turned_off_nothing_happens(
    mortal_redis: Any, small_bundle: Path, start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    never = start_worker("never", sees=False)
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "publisher").publish(Bundle.open(small_bundle))
        waits, off = start_worker("waits"), start_worker("off", sees=False, restore=False)
        mortal_redis.forget_everything()
        never = start_worker("never-2", sees=False)
        client.set(Keys().publishing, "somebody", ex=60)
        time.sleep(1.5)
        assert restores("started", never, waits, off) == 0
        assert not client.exists(Keys().current, Keys().restoring)
        assert not (tmp_path / "off" / "published.json").exists()
        assert {one.get(SIMILAR).json()["store"] for one in (never, waits, off)} == {"bundle"}


def test_a_publish_that_fails_is_counted_logged_with_its_reason_and_not_tried_again_at_once(
    published: str, mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any, capsys: Any
) -> None:
    worker = start_worker(memory_budget=1_000)
    mortal_redis.forget_everything()
    eventually(lambda: restores("failed", worker) == 1, within_s=30)
    with mortal_redis.client() as client:
        assert 0 < client.pttl(Keys().restoring) <= 5_000  # nobody else tries meanwhile either
        assert not client.exists(Keys().current)
    assert "the memory budget is 1,000 bytes" in capsys.readouterr().out
    time.sleep(0.5)
    assert (restores("started", worker), restores("done", worker)) == (1, 0)
    assert worker.get(SIMILAR).json()["store"] == "bundle"


@pytest.fixture
def larger(make_bundle: Callable[..., Bundle]) -> Bundle:
    """So many items that a publish can be met in the middle of its blocks."""
    rng = np.random.default_rng(0)
    return make_bundle(rng.normal(size=(4000, 8)), users=rng.normal(size=(1000, 8)))


def killed_midway(client: redis.Redis, version: str, pid: Callable[[], int | None]) -> int:
    """Kill a publish once it has written some blocks; how many."""
    end = time.monotonic() + 60
    while not client.hlen(Keys().loaded(version)):
        assert time.monotonic() < end, "the publish did not begin"
        time.sleep(0.002)
    process = pid()
    assert process is not None
    os.kill(process, signal.SIGSTOP)  # so that what is counted now is what it leaves
    blocks = client.hlen(Keys().loaded(version))
    assert client.get(Keys().current) is None, "the publish was too fast"
    os.kill(process, signal.SIGKILL)
    return blocks


def publisher_of(client: redis.Redis) -> int | None:
    """The process that holds the lock of a publish."""
    whose = client.get(Keys().publishing)
    return None if whose is None else int(whose.decode().split(":")[-2])


def answers(worker: Any) -> list[list[str]]:
    """Some lists, whichever store they are from."""
    lists = [worker.get(f"/v1/items/i{row}/similar").json() for row in (0, 1999, 3999)] + [worker.feed("u7")]
    return [[slot["item"]["item_id"] for slot in one["recommendations"]] for one in lists]


@pytest.fixture
def started(larger: Bundle, mortal_redis: Any, start_worker: Callable[..., Any], tmp_path: Path) -> list[Any]:
    """Two workers on a Redis that has the larger bundle."""
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "publisher").publish(larger)
    return [start_worker(name, bundle=larger.path) for name in ("one", "two")]


def test_a_publish_that_is_killed_is_gone_on_with_seconds_later_and_nothing_half_made_answers(
    started: list[Any], larger: Bundle, mortal_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "FIRST_PAUSE_S", 1.0)
    before = [answers(worker) for worker in started]
    with mortal_redis.client() as client:
        mortal_redis.forget_everything()
        blocks = killed_midway(client, larger.version, lambda: publisher_of(client))
        assert 0 < blocks < 20
        began, sets = time.monotonic(), client.info("commandstats")["cmdstat_set"]["calls"]
        while client.get(Keys().current) is None:
            assert time.monotonic() < began + 60, "the version did not come back"
            assert [answers(worker) for worker in started] == before
        assert [answers(worker) for worker in started] == before
        written = client.info("commandstats")["cmdstat_set"]["calls"] - sets
        assert written < 2 * 4000 + 1000 - 2 * 250 * blocks + 100  # what stands is not written again: 250 items a block
    eventually_done = time.monotonic() + 10
    while restores("done", *started) < 1:
        assert time.monotonic() < eventually_done
        time.sleep(0.05)
    assert (restores("started", *started), restores("failed", *started)) == (2, 1)


def test_where_worker_and_publish_die_together_another_worker_goes_on_when_their_lease_and_lock_have_ended(
    started: list[Any], larger: Bundle, mortal_redis: Any, eventually: Any, tmp_path: Path
) -> None:
    before = answers(started[0])
    with mortal_redis.client() as client:
        pipeline = client.pipeline(transaction=True)  # nobody can be faster than the one that dies
        pipeline.flushall()
        pipeline.set(Keys().restoring, "a worker that died at it", px=int(restoring.LEASE_S * 1000))
        pipeline.execute()
        command = [sys.executable, "-m", "recsys", "publish", str(larger.path), "--if-none", "--processes", "1"]
        own = {"RECSYS_REDIS_URL": mortal_redis.url, "RECSYS_STATE_DIR": str(tmp_path / "dead")}
        with subprocess.Popen(command, env=os.environ | own, stderr=subprocess.DEVNULL) as process:
            assert killed_midway(client, larger.version, lambda: process.pid) < 20
        assert 0 < client.ttl(Keys().publishing) <= LOCK_S  # the two minutes of the operations page
        client.pexpire(Keys().restoring, 500)
        time.sleep(1.0)
        assert restores("started", *started) == 0  # the lock stands yet
        client.pexpire(Keys().publishing, 200)
        eventually(lambda: client.get(Keys().current) == larger.version.encode(), within_s=60)
    eventually(lambda: restores("done", *started) == 1)
    assert [answers(worker) for worker in started] == [before, before]
