"""A Redis that lost rules and experiments has them put back, and nobody is ever shown what they hide."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recsys.bundle import Bundle
from serving.documents import Documents
from serving.keys import Keys
from serving.publishing import Publisher
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry

HIDE = {"name": "not cheap", "hide": "price < 30"}
RULES = Keys().rules


def put(worker: Any, *rules: dict[str, Any]) -> int:
    done = httpx.put(worker.base_url + "/v1/rules", json={"rules": rules}, timeout=10)
    assert done.status_code == 200, done.text
    version: int = done.json()["version"]
    return version


def holds(worker: Any, version: int) -> bool:
    """Whether a worker goes by a version of the rules."""
    return bool(worker.get("/v1/items/i3/similar").json()["rules_version"] == version)


def restored(what: str, *workers: Any) -> float:
    found: float = sum(worker.metric("recsys_policies_restored_total", what=what) for worker in workers)
    return found


def prices(answer: dict[str, Any]) -> list[float]:
    return [slot["item"]["price"] for slot in answer["recommendations"]]


@pytest.fixture
def put_apart(run_apart: Callable[..., int]) -> Callable[[str, list[dict[str, Any]]], int]:
    """As `recsys rules put` does, in whatever Redis has, knowing nothing of what was there before."""

    async def story(url: str, rules: list[dict[str, Any]]) -> int:
        store = Store(url, Settings(redis_timeout_s=2.0), Telemetry())
        try:
            return await Documents(store, RULES).put(orjson.dumps({"rules": rules}))
        finally:
            await store.close()

    return lambda url, rules: run_apart(story(url, rules))


@pytest.fixture
def start_worker(
    start_service: Callable[..., Any], mortal_redis: Any, small_bundle: Path, tmp_path: Path
) -> Callable[..., Any]:
    """Starts workers, each with a state folder by its name."""

    def start(name: str = "one", **given: Any) -> Any:
        own = {"bundle": small_bundle, "redis_url": mortal_redis.url, "state_dir": tmp_path / name}
        return start_service(**{**own, **given})

    return start


@pytest.fixture
def forget_unseen(mortal_redis: Any, eventually: Any) -> Callable[[], None]:
    """Empties Redis right after a slow worker has looked (and put back what was lost), so that it looks no sooner than
    somebody else can put something."""

    def forget() -> None:
        with mortal_redis.client() as client:
            client.flushall()
            eventually(lambda: client.exists(RULES))
            client.flushall()

    return forget


@dataclass
class Load:
    """What shoppers were shown while they asked again and again."""

    answers: int = 0
    shown: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def under_load(*workers: Any) -> Any:
    """Two shoppers at each worker, one for lists and one for feeds of ever new visitors."""
    load, stop = Load(), threading.Event()

    def shop(worker: Any, surface: str) -> None:
        with worker.client() as client:
            for number in range(1_000_000):
                if stop.is_set():
                    return
                path = f"/v1/items/i{number % 60}/similar" if surface == "similar" else f"/v1/users/v{number}/feed"
                answer = client.get(path)
                if answer.status_code != 200:
                    load.failed.append(answer.text)
                    continue
                load.answers += 1
                load.shown += [price for price in prices(answer.json()) if price < 30]

    shoppers = [threading.Thread(target=shop, args=(one, kind)) for one in workers for kind in ("similar", "feed")]
    for shopper in shoppers:
        shopper.start()
    try:
        yield load
    finally:
        stop.set()
        for shopper in shoppers:
            shopper.join(20)


def test_two_workers_under_load_never_show_what_is_hidden_while_redis_forgets_everything_and_put_it_back_once(
    mortal_redis: Any, small_bundle: Path, start_worker: Callable[..., Any], eventually: Any, tmp_path: Path
) -> None:
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "publisher").publish(Bundle.open(small_bundle))
        workers = [start_worker(name, restore=True) for name in ("one", "two")]
        put(workers[0], {"name": "first", "hide": "price < 5"})
        assert put(workers[0], HIDE) == 2
        eventually(lambda: all(holds(worker, 2) for worker in workers))
        before = client.hgetall(RULES)
        with under_load(*workers) as load:
            for _ in range(3):
                asked = load.answers
                eventually(lambda asked=asked: load.answers > asked + 40, within_s=30)
                mortal_redis.forget_everything()
                eventually(lambda: client.hget(RULES, "active") == b"2")
            asked = load.answers
            eventually(lambda: load.answers > asked + 40, within_s=30)
        assert (load.shown, load.failed) == ([], [])
        assert restored("rules", *workers) == 3  # one of the two each time
        after = client.hgetall(RULES)
        held = (b"active", b"last", b"changed", b"document:2", b"about:2")
        assert {name: after.get(name) for name in held} == {name: before[name] for name in held}
        assert put(workers[1], HIDE, {"name": "more", "hide": "price > 90"}) == 3  # numbers go on
        eventually(lambda: all(holds(worker, 3) for worker in workers))


def test_a_worker_that_starts_while_redis_is_down_or_empty_knows_the_rules_of_the_worker_before_it(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any, run_apart: Any, tmp_path: Path
) -> None:
    version = run_apart(_one_life(mortal_redis.url, tmp_path / "one", HIDE))
    mortal_redis.forget_everything()
    mortal_redis.kill()
    worker = start_worker("one")
    assert min(prices(worker.get("/v1/items/i3/similar").json())) >= 30
    assert worker.get("/ready").json()["policies"] == "remembered"
    mortal_redis.start()  # with nothing in it
    with mortal_redis.client() as client:
        eventually(lambda: worker.get("/ready").json()["policies"] == "redis")
        assert client.exists(RULES)  # it does not say so before it is true
        eventually(lambda: client.hget(RULES, "active") == b"%d" % version)
    assert min(prices(worker.feed("u1"))) >= 30
    empty = start_worker("another machine")  # it knows nothing, and finds what was put back
    assert holds(empty, version)


async def _one_life(url: str, state_dir: Path, *rules: dict[str, Any]) -> int:
    """A worker that starts, takes rules that were put, and ends."""
    from serving.app import create_app

    settings = Settings(redis_url=url, state_dir=state_dir, poll_s=0.05, redis_timeout_s=2.0)
    store = Store(url, settings, Telemetry())
    version = await Documents(store, RULES).put(orjson.dumps({"rules": rules}))
    await store.close()
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        assert app.state.policies.policies.active == version
    return version


def test_an_empty_set_takes_all_rules_away_and_comes_back_as_one(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    workers = [start_worker(name) for name in ("one", "two")]
    put(workers[0], HIDE)
    eventually(lambda: all(holds(worker, 1) for worker in workers))
    assert put(workers[0]) == 2
    for _ in range(2):
        eventually(lambda: all(holds(worker, 2) for worker in workers))
        assert all(min(prices(worker.get("/v1/items/i3/similar").json())) < 30 for worker in workers)
        mortal_redis.forget_everything()
        with mortal_redis.client() as client:
            eventually(lambda: client.hget(RULES, "active") == b"2")
    assert restored("rules", *workers) == 2


def test_what_somebody_put_into_the_emptied_redis_stands_and_is_not_taken_for_the_version_of_the_same_number(
    mortal_redis: Any,
    start_worker: Callable[..., Any],
    forget_unseen: Callable[[], None],
    eventually: Any,
    put_apart: Callable[..., int],
) -> None:
    slow = start_worker("slow", poll_s=1.5)  # so slow that somebody is faster
    put(slow, {"name": "cheap only", "hide": "price > 30"})
    forget_unseen()
    assert put_apart(mortal_redis.url, [HIDE]) == 1  # the same number, other rules
    eventually(lambda: min(prices(slow.get("/v1/items/i3/similar").json())) >= 30)
    assert holds(slow, 1)
    assert restored("rules", slow) == 1  # while it was waited for
    forget_unseen()
    put_apart(mortal_redis.url, [])
    put_apart(mortal_redis.url, [HIDE, {"name": "b", "hide": "price > 80"}])
    eventually(lambda: holds(slow, 2))
    assert max(prices(slow.get("/v1/items/i3/similar").json())) <= 80


def test_numbers_go_on_where_the_emptied_redis_was_given_rules_before_a_worker_looked(
    mortal_redis: Any,
    start_worker: Callable[..., Any],
    forget_unseen: Callable[[], None],
    eventually: Any,
    put_apart: Callable[..., int],
) -> None:
    slow = start_worker("slow", poll_s=1.5)
    for _ in range(4):
        put(slow, HIDE)
    forget_unseen()
    assert put_apart(mortal_redis.url, []) == 1
    with mortal_redis.client() as client:
        eventually(lambda: client.hget(RULES, "last") == b"4")
        assert client.hget(RULES, "active") == b"1"
    assert put_apart(mortal_redis.url, [HIDE]) == 5
    eventually(lambda: holds(slow, 5))  # what no worker has seen is lost
    forget_unseen()
    assert put(slow, HIDE) == 6  # of who puts by a worker: what was lost is put back first


def test_a_file_that_is_older_than_what_redis_has_changes_nothing_and_one_that_is_newer_does(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any, run_apart: Any, tmp_path: Path
) -> None:
    run_apart(_one_life(mortal_redis.url, tmp_path / "old", {"name": "old", "hide": "price > 30"}))
    current = start_worker("current")
    assert put(current, HIDE) == 2
    with mortal_redis.client() as client:
        there = client.hgetall(RULES)
        returned = start_worker("old")
        assert holds(returned, 2)
        time.sleep(0.3)
        assert client.hgetall(RULES) == there
        # a machine that was away puts its old rules back before anybody else looks: the newer ones win
        client.delete(RULES)
        returning = {b"active": b"1", b"last": b"1", b"changed": b"1", b"document:1": b"{}", b"about:1": b"{}"}
        client.hset(RULES, mapping=returning)
        eventually(lambda: client.hget(RULES, "active") == b"2")
    assert all(holds(worker, 2) for worker in (current, returned))
    assert restored("rules", current, returned) == 1


def test_a_rollback_is_no_loss_and_is_itself_put_back(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    worker = start_worker()
    put(worker, HIDE)
    put(worker)
    httpx.post(worker.base_url + "/v1/rules/rollback", timeout=10)
    assert holds(worker, 1)
    time.sleep(0.3)
    assert (holds(worker, 1), restored("rules", worker)) == (True, 0)
    mortal_redis.forget_everything()
    with mortal_redis.client() as client:
        eventually(lambda: client.hget(RULES, "active") == b"1")
        assert client.hget(RULES, "last") == b"2"
    assert put(worker, HIDE) == 3


def test_experiments_the_rules_they_name_and_what_a_guard_rail_stopped_are_put_back(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    workers = [start_worker(name) for name in ("one", "two")]
    named, _ = put(workers[0], HIDE), put(workers[0])
    arms = [{"name": "control", "overrides": {"rules": named}}, {"name": "same", "overrides": {"rules": named}}]
    both = [{"name": "running", "arms": arms}, {"name": "bad", "arms": [{"name": "a"}, {"name": "b"}]}]
    done = httpx.put(workers[0].base_url + "/v1/experiments", json={"experiments": both}, timeout=10)
    assert done.status_code == 200, done.text
    with mortal_redis.client() as client:
        client.hset(Keys().stopped, "bad", '{"arm":"b"}')
        eventually(lambda: all(worker.feed("ann")["arms"].keys() == {"running"} for worker in workers))
        mortal_redis.forget_everything()
        end = time.monotonic() + 10
        while not client.hexists(Keys().stopped, "bad") or client.exists(Keys().experiments, RULES) != 2:
            assert time.monotonic() < end
            for worker in workers:
                feed = worker.feed("ann")
                assert (feed["arms"].keys(), feed["rules_version"]) == ({"running"}, named)
                assert min(prices(feed)) >= 30
        assert client.hget(Keys().stopped, "bad") == b'{"arm":"b"}'
        assert client.hget(RULES, f"document:{named}") is not None
    for what in ("rules", "experiments", "stopped"):
        assert restored(what, *workers) == 1
    assert start_worker("new").feed("ann")["rules_version"] == named


def test_where_it_is_turned_off_a_worker_stays_with_what_it_knows_writes_nothing_and_says_so(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any, put_apart: Callable[..., int]
) -> None:
    worker = start_worker(restore=False)
    put(worker, HIDE)
    mortal_redis.forget_everything()
    eventually(lambda: worker.get("/ready").json()["policies"] == "remembered")
    assert worker.metric("recsys_policies_in_step") == 0
    time.sleep(0.3)
    assert min(prices(worker.feed("u1"))) >= 30
    with mortal_redis.client() as client:
        assert not client.exists(RULES)
    assert put_apart(mortal_redis.url, []) == 1
    eventually(lambda: worker.get("/ready").json()["policies"] == "redis")
    assert min(prices(worker.get("/v1/items/i3/similar").json())) < 30


def test_a_redis_that_lost_them_and_takes_no_writes_has_them_put_back_when_it_does(
    mortal_redis: Any, start_worker: Callable[..., Any], eventually: Any
) -> None:
    worker = start_worker()
    put(worker, HIDE)
    with mortal_redis.client() as client:
        client.flushall()
        client.config_set("maxmemory", 1)
        client.flushall()  # what came back in between
        eventually(lambda: worker.get("/ready").json()["policies"] == "remembered")
        assert min(prices(worker.feed("u1"))) >= 30
        refused = httpx.put(worker.base_url + "/v1/rules", json={"rules": []}, timeout=10)
        assert (refused.status_code, "takes no writes: it is full" in refused.json()["detail"]) == (503, True)
        client.config_set("maxmemory", 0)
        eventually(lambda: client.hget(RULES, "active") == b"1")


def test_rules_known_of_one_redis_are_not_put_into_another_and_a_broken_file_is_counted(
    mortal_redis: Any, redis_server: Any, start_worker: Callable[..., Any], run_apart: Any, tmp_path: Path
) -> None:
    run_apart(_one_life(mortal_redis.url, tmp_path / "moved", HIDE))
    moved = start_worker("moved", redis_url=redis_server.url)
    assert moved.get("/ready").json()["policies"] == "files"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "policies.json").write_text('{"rules":')
    broken = start_worker("broken", redis_url=redis_server.url)
    assert broken.metric("recsys_policy_failures_total") == 1
    with redis_server.client() as client:
        assert not client.exists(RULES)


def test_a_new_version_holds_whether_it_is_put_before_between_or_after_those_who_put_the_old_one_back(
    redis_server: Any, run_apart: Any
) -> None:
    async def race(number: int) -> tuple[int, int]:
        """The number that a new version got, and how many of two put the old one back."""
        store = Store(redis_server.url, Settings(redis_timeout_s=2.0), Telemetry())
        documents = Documents(store, RULES)
        redis_server.forget_everything()
        await documents.put(b'{"old": 1}')
        await documents.put(b'{"old": 2}')
        known = await documents.copy()
        redis_server.forget_everything()
        racers: list[Any] = [documents.put_back(known), documents.put_back(known)]
        racers.insert(number % 3, documents.put(b'{"new": 3}'))
        done = await asyncio.gather(*racers)
        after = await documents.copy()
        await store.close()
        assert after.editions[after.standing.active].text == b'{"new": 3}'
        assert after.standing.changed > known.standing.changed
        return int(done.pop(number % 3)), sum(done)

    outcomes = {run_apart(race(number)) for number in range(12)}
    assert outcomes <= {(1, 0), (3, 1)}
    assert len(outcomes) == 2


def test_marks_rise_even_where_the_clock_of_redis_was_set_back(
    redis_server: Any, put_apart: Callable[..., int]
) -> None:
    ahead = int(time.time() * 1e6) + 3_600_000_000
    with redis_server.client() as client:
        client.hset(RULES, mapping={"active": 3, "last": 3, "changed": ahead, "document:3": "{}", "about:3": "{}"})
        assert put_apart(redis_server.url, [HIDE]) == 4
        assert int(client.hget(RULES, "changed") or 0) == ahead + 1
