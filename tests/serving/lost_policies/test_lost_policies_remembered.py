"""What a worker knows of rules by itself, and when it does not write it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.documents import Documents
from serving.policy_keeper import PolicyKeeper
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry
from tests.serving.lost_policies.rules import HIDE, RULES, holds, prices, put, restored


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


def test_rules_are_not_said_to_be_of_redis_while_it_is_still_asked_for_them(
    mortal_redis: Any, run_apart: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_apart(_one_life(mortal_redis.url, tmp_path, HIDE))
    mortal_redis.kill()

    async def story() -> list[str]:
        settings, telemetry, said = Settings(redis_url=mortal_redis.url, state_dir=tmp_path), Telemetry(), []
        store = Store(mortal_redis.url, settings, telemetry)
        keeper = PolicyKeeper(store, settings, telemetry)
        await keeper.start()
        mortal_redis.start()
        store.mark_up()
        found = keeper._found

        async def slowly() -> Any:
            said.append(keeper.origin)
            return await found()

        monkeypatch.setattr(keeper, "_found", slowly)
        assert await keeper.look([])
        await store.close()
        return [*said, keeper.origin]

    assert run_apart(story()) == ["remembered", "redis"]


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
