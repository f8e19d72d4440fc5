"""A Redis that lost rules and experiments has them put back, and nobody is ever shown what they hide."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from recsys.bundle import Bundle
from serving.keys import Keys
from serving.publishing import Publisher
from tests.serving.lost_policies.rules import HIDE, RULES, holds, prices, put, restored


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
