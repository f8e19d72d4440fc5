"""Clicks count for the arm that showed what was clicked: within the window, once a slot, whoever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import orjson
import pytest
from redis import Redis
from redis.crc import key_slot

from features.errors import InputError
from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory
from serving.events import Event
from serving.keys import Keys
from serving.nearline.appeal import PACKED, LiveCounting, begin, field, named
from serving.nearline.attribution import FIELDS, GROUP, Attribution, attribute
from serving.nearline.group import Batch, StreamGroup

KEYS = Keys()


@pytest.fixture
def client(redis_server: Any) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def show(client: Redis, answer: str, items: str, *, at: float = 100.0, arms: dict[str, str] | None = None) -> None:
    slots = {"items": list(items), "sources": ["popular"] * len(items), "propensities": [1.0] * len(items)}
    arms = {"test": "a"} if arms is None else arms
    fields: dict[Any, Any] = {
        "recommendation_id": answer,
        "timestamp": repr(at),
        "arms": orjson.dumps(arms),
        "slots": orjson.dumps(slots),
    }
    client.xadd(KEYS.impressions, fields)


def click(client: Redis, answer: str | None, item: str, *, at: float = 110.0, kind: str = "click") -> None:
    fields: dict[Any, Any] = dict(Event(f"{answer}{item}{at}", "u", item, kind, at, answer).fields())
    client.xadd(KEYS.events, fields)


def run(client: Redis, **given: Any) -> None:
    attribute(client, worker="w", stop=threading.Event(), once=True, window_s=60.0, **given)


def counted(client: Redis, experiment: str = "test", arm: str = "a") -> dict[str, int]:
    found: Any = client.hgetall(KEYS.attributed(experiment, arm))
    return {name: int(found.get(name.encode(), 0)) for name in FIELDS}


def test_a_click_counts_once_a_slot_for_the_arms_of_the_answer_it_names(client: Redis) -> None:
    show(client, "one", "xyz")
    show(client, "two", "xy", arms={"test": "b", "other": "c"})
    show(client, "none", "x", arms={})
    click(client, "one", "x")
    click(client, "one", "x", at=111.0)  # again on the same slot
    click(client, "one", "y", kind="view")
    click(client, "one", "z", kind="viewable")  # was on screen, no click
    click(client, "one", "q")  # was not shown
    click(client, "two", "y")
    click(client, None, "x")  # names no answer
    click(client, "none", "x")  # of an answer of no arm
    click(client, "unheard of", "x")
    run(client)
    assert counted(client) == {"answers": 1, "slots": 3, "clicked_answers": 1, "clicks": 2, "late": 0}
    of_two = {"answers": 1, "slots": 2, "clicked_answers": 1, "clicks": 1, "late": 0}
    assert counted(client, "test", "b") == counted(client, "other", "c") == of_two


def test_a_click_after_the_window_is_late_and_one_before_its_answer_is_none(client: Redis) -> None:
    show(client, "one", "wxyz", at=100.0)
    click(client, "one", "w", at=160.0)
    click(client, "one", "x", at=160.5)
    click(client, "one", "y", at=50.0)
    run(client)
    assert counted(client) == {"answers": 1, "slots": 4, "clicked_answers": 1, "clicks": 1, "late": 2}


def test_a_worker_killed_before_it_acknowledged_counts_nothing_twice(client: Redis) -> None:
    show(client, "one", "xyz")
    click(client, "one", "x")
    counting = Attribution(client, KEYS, window_s=60.0)
    count_until_killed(client, counting)
    pending: Any = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 1
    run(client)
    assert counted(client) == {"answers": 1, "slots": 3, "clicked_answers": 1, "clicks": 1, "late": 0}
    pending = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 0


def count_until_killed(client: Redis, counting: Attribution) -> None:
    """Answers are counted twice over, and a click that is never acknowledged."""
    groups = [
        StreamGroup(client, stream, group=GROUP, worker="w", size=10, abandoned_after_s=60.0)
        for stream in (KEYS.impressions, KEYS.events)
    ]
    batches = []
    for group in groups:
        group.join()
        batches.append(next(group.batches()))
    counting.answers(groups[0], batches[0])
    counting.answers(groups[0], batches[0])  # another worker took it over that was thought dead
    counting._count_click(event_of(batches[1]))  # counted, then killed: never acknowledged


def event_of(batch: Batch) -> dict[str, Any]:
    fields = {name: value.decode() for name, value in batch.entries[0][1].items()}
    return {**fields, "timestamp": float(fields["timestamp"])}


def test_a_worker_killed_before_it_counted_loses_nothing(client: Redis) -> None:
    show(client, "one", "xyz")
    click(client, "one", "x")
    for stream in (KEYS.impressions, KEYS.events):  # handed out to a worker that does not come back
        client.xgroup_create(stream, GROUP, id="0")
        client.xreadgroup(GROUP, "dead", {stream: ">"})
    time.sleep(0.05)
    run(client, abandoned_after_s=0.01)
    assert counted(client)["clicks"] == counted(client)["answers"] == 1


def test_a_click_that_overtakes_its_answer_is_looked_at_again(client: Redis) -> None:
    click(client, "one", "x")
    run(client, abandoned_after_s=0.3)
    assert counted(client)["clicks"] == 0
    show(client, "one", "xyz")
    time.sleep(0.35)
    run(client, abandoned_after_s=0.3)
    assert counted(client)["clicks"] == 1
    pending: Any = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 0


HALF_LIFE = 1000.0


def counters_of(make: Any, items: str = "xyz") -> CounterHistory:
    """Of each item one look and half a click at second 90, in the first place; the second is looked at half as often;
    for the scenario "home" nothing was shown yet.
    """
    rows = [(item, "", 0, 90.0, 1.0, 0.5) for item in items]
    found: CounterHistory = replace(make(rows, half_life_s=HALF_LIFE, window_s=0.0), scenarios=("", "home"))
    found.__dict__["examination"] = lambda _: Examination({"feed": (1.0, 0.5)})
    return found


@pytest.fixture
def log_counters(make_counters: Any) -> Any:
    return partial(counters_of, make_counters)


def appeals(client: Redis, scenario: str = "") -> dict[str, tuple[float, ...]]:
    """Clicks, looks and squared looks, as they are at the moment they were faded to."""
    found: Any = client.hgetall(KEYS.appeal)
    of_each = {named(field): tuple(np.frombuffer(raw, dtype=PACKED)[0].tolist()) for field, raw in found.items()}
    return {item: numbers for (where, item), numbers in of_each.items() if where == scenario}


def feed(client: Redis, answer: str, items: str, *, at: float, scenario: str = "") -> None:
    slots = {"items": list(items), "sources": ["popular"] * len(items), "propensities": [1.0] * len(items)}
    fields: dict[Any, Any] = {
        "recommendation_id": answer,
        "surface": "feed",
        "scenario": scenario,
        "timestamp": repr(at),
        "arms": b"{}",
        "slots": orjson.dumps(slots),
    }
    client.xadd(KEYS.impressions, fields)


def test_items_are_counted_by_looks_whatever_arm_showed_them_and_go_on_from_the_log(
    client: Redis, log_counters: Any
) -> None:
    feed(client, "old", "x", at=80.0)  # the log has it
    feed(client, "new", "xq", at=100.0)
    show(client, "of an arm", "x", at=100.0)  # of a surface nobody knows: 1 / log2(2) = 1 look
    click(client, "new", "q")
    click(client, "new", "q", at=111.0)
    click(client, "old", "x", at=85.0)
    run(client, counters=log_counters())
    fading = 0.5 ** (10 / HALF_LIFE)
    found = appeals(client)
    assert found["x"] == pytest.approx((0.5 * fading, fading + 2, fading**2 + 2, 100.0))
    assert found["q"] == pytest.approx((1.0, 0.5, 0.5, 100.0))
    assert found["y"] == pytest.approx((0.5, 1.0, 1.0, 90.0))
    assert counted(client)["answers"] == 1
    run(client, counters=log_counters("xyzq"))  # begun again: nothing is counted twice, nor forgotten
    assert appeals(client) == found


def test_a_scenario_that_the_log_s_counters_know_is_counted_by_itself_and_any_other_with_the_rest(
    client: Redis, log_counters: Any
) -> None:
    feed(client, "there", "xq", at=100.0, scenario="home")
    feed(client, "anywhere", "xq", at=100.0, scenario="made.up-by.a_visitor")
    click(client, "there", "q")
    run(client, counters=log_counters())
    fading = 0.5 ** (10 / HALF_LIFE)
    assert appeals(client, "home") == {"x": pytest.approx((0, 1, 1, 100.0)), "q": pytest.approx((1, 0.5, 0.5, 100.0))}
    assert appeals(client)["x"] == pytest.approx((0.5 * fading, fading + 1, fading**2 + 1, 100.0))
    assert appeals(client)["q"] == pytest.approx((0, 0.5, 0.5, 100.0))
    fields: Any = client.hkeys(KEYS.appeal)
    assert {named(field)[0] for field in fields} == {"", "home"}


def test_counts_of_items_do_not_depend_on_the_order_of_coming(client: Redis, log_counters: Any) -> None:
    for answer, at in (("b", 500.0), ("a", 100.0), ("c", 900.0)):
        feed(client, answer, "q", at=at)
        click(client, answer, "q", at=at + 5)
    run(client, counters=log_counters())
    weights = 0.5 ** (np.array([800.0, 400.0, 0.0]) / HALF_LIFE)
    assert appeals(client)["q"] == pytest.approx((weights.sum(), weights.sum(), (weights**2).sum(), 900.0))


def test_a_killed_worker_counts_no_item_twice(client: Redis, log_counters: Any) -> None:
    feed(client, "one", "q", at=100.0)
    click(client, "one", "q")
    counting = Attribution(client, KEYS, window_s=60.0, counting=begin(client, KEYS, log_counters()))
    count_until_killed(client, counting)
    run(client, counters=log_counters())
    assert appeals(client)["q"] == pytest.approx((1.0, 1.0, 1.0, 100.0))


def test_where_redis_forgets_everything_counting_goes_on_from_the_log_s_counters_and_says_that_it_began_anew(
    client: Redis, log_counters: Any, eventually: Any
) -> None:
    stop = threading.Event()
    counting = {"worker": "w", "stop": stop, "wait_s": 0.02, "counters": log_counters()}
    thread = threading.Thread(target=attribute, args=(client,), kwargs=counting)
    thread.start()
    try:
        feed(client, "one", "q", at=100.0)
        eventually(lambda: "q" in appeals(client))
        before = LiveCounting.read(cast("bytes", client.get(KEYS.appeal_about)))
        client.flushall()
        feed(client, "two", "r", at=100.0)
        eventually(lambda: "r" in appeals(client), within_s=20)
        click(client, "two", "r")
        eventually(lambda: appeals(client)["r"] == pytest.approx((1.0, 1.0, 1.0, 100.0)))
    finally:
        stop.set()
        thread.join(20)
    after = LiveCounting.read(cast("bytes", client.get(KEYS.appeal_about)))
    assert appeals(client)["y"] == pytest.approx((0.5, 1.0, 1.0, 90.0))
    assert "q" not in appeals(client)  # what the stream held is lost
    assert replace(after, begun_s=before.begun_s) == before
    assert after.begun_s > before.begun_s  # by which workers know to read all of it again


def test_workers_that_notice_a_loss_at_the_same_time_count_alike(client: Redis, log_counters: Any) -> None:
    known = [log_counters(), replace(log_counters(), until_s=105.0)]  # one was started with newer counters
    workers = [Attribution(client, KEYS, window_s=60.0, counting=begin(client, KEYS, known[0])) for _ in known]
    for _ in range(5):
        client.flushall()
        both = threading.Barrier(2)

        def notice(worker: Attribution, counters: CounterHistory, both: threading.Barrier = both) -> None:
            both.wait()
            worker.stay_in_step(counters)

        threads = [threading.Thread(target=notice, args=pair) for pair in zip(workers, known, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        now = LiveCounting.read(cast("bytes", client.get(KEYS.appeal_about)))
        assert [worker._counting for worker in workers] == [now, now]


def test_a_worker_whose_fellow_began_anew_with_newer_counters_does_not_count_what_these_hold(
    client: Redis, log_counters: Any
) -> None:
    stop = threading.Event()
    counting = {"worker": "w", "stop": stop, "wait_s": 0.02, "counters": log_counters()}
    thread = threading.Thread(target=attribute, args=(client,), kwargs=counting)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not client.exists(KEYS.appeal_about):
            assert time.monotonic() < deadline
        before = LiveCounting.read(cast("bytes", client.get(KEYS.appeal_about)))
        client.set(KEYS.appeal_about, replace(before, until_s=105.0, begun_s=before.begun_s + 1).dump())
        feed(client, "theirs", "q", at=100.0)
        feed(client, "new", "r", at=110.0)
        while "r" not in appeals(client):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(20)
    assert "q" not in appeals(client)


def test_an_item_s_id_may_hold_what_stands_between_scenario_and_item_and_a_scenario_s_name_may_not(
    client: Redis, log_counters: Any
) -> None:
    for scenario in ("", "home"):
        assert named(field(scenario, "a\x1fb")) == (scenario, "a\x1fb")
    assert named(b"from before there were scenarios") == ("", "from before there were scenarios")
    counters = replace(log_counters(), scenarios=("", "at\x1fhome"))
    with pytest.raises(InputError, match=r"must hold no unit separator .*at.*home"):
        begin(client, KEYS, counters)
    assert not client.exists(KEYS.appeal_about)


def test_counts_from_before_there_were_scenarios_are_of_everywhere_and_add_to_what_comes(
    client: Redis, log_counters: Any
) -> None:
    about = {"examination": {"feed": [1.0, 0.5]}, "half_life_s": HALF_LIFE, "until_s": 90.0}
    client.set(KEYS.appeal_about, orjson.dumps(about))
    client.hset(KEYS.appeal, "x", np.array([(3.0, 8.0, 8.0, 100.0)], dtype=PACKED).tobytes())
    feed(client, "new", "xq", at=100.0, scenario="home")
    run(client, counters=log_counters())
    fields: Any = client.hkeys(KEYS.appeal)
    assert sorted(named(one) for one in fields) == [("", "q"), ("", "x"), ("", "x")]
    counting = LiveCounting.read(cast("bytes", client.get(KEYS.appeal_about)))
    assert (counting.scenarios, counting.until_s) == (("",), 90.0)
    with pytest.raises(InputError, match="how live counts are made must be JSON as it was written"):
        LiveCounting.read(b'{"examination": {}}')


def test_what_cannot_be_read_stops_nothing(client: Redis) -> None:
    client.xadd(KEYS.impressions, {"arms": b"{", "slots": b""})
    client.xadd(KEYS.impressions, {"arms": b'{"test": "a"}'})
    client.xadd(KEYS.events, {"event_type": b"click"})
    show(client, "one", "x")
    click(client, "one", "x")
    run(client)
    assert counted(client) == {"answers": 1, "slots": 1, "clicked_answers": 1, "clicks": 1, "late": 0}
    for stream in (KEYS.impressions, KEYS.events):
        pending: Any = client.xpending(stream, GROUP)
        assert pending["pending"] == 0


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_all_that_one_script_touches_lies_in_one_slot_of_a_cluster(tenant: str) -> None:
    keys = Keys(tenant)
    names = [keys.impressions, keys.attributed("e", "a"), keys.shown("r"), keys.clicked("r", "{x}")]
    names += [keys.appeal, keys.appeal_changed, keys.appeal_about]
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_results_and_metrics_tell_the_rate_of_each_arm(service: Any, redis_server: Any, eventually: Any) -> None:
    body = {"experiments": [{"name": "test", "arms": [{"name": "a"}, {"name": "b"}]}]}
    assert httpx.put(service.base_url + "/v1/experiments", json=body, timeout=10).status_code == 200
    answers: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for number in range(12):
        answer = service.feed(f"visitor{number}", 4)
        answers[answer["arms"]["test"]].append(answer)
    assert all(answers.values())
    for answer in answers["a"]:
        for slot in answer["recommendations"][:2]:
            one = {"user_id": "anyone", "item_id": slot["item"]["item_id"], "event_type": "click"}
            service.post({**one, "recommendation_id": answer["recommendation_id"]})
    with redis_server.client() as client:
        eventually(lambda: client.xlen(KEYS.impressions) == 12)
    command = [Path(sys.executable).with_name("recsys"), "log", "attribute", "--once"]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "REDIS_URL": redis_server.url})
    n = len(answers["a"])
    told = service.get("/v1/experiments/results").json()["experiments"][0]["arms"]
    assert {one["name"]: one["attributed"] for one in told} == {
        "a": {"answers": n, "slots": 4 * n, "clicked_answers": n, "clicks": 2 * n, "late": 0},
        "b": {"answers": 12 - n, "slots": 4 * (12 - n), "clicked_answers": 0, "clicks": 0, "late": 0},
    }
    guard = service.app.state.policy_desk._guard
    guard._next_guard = 0.0
    eventually(lambda: service.metric("recsys_arm_attributed", arm="a", count="clicks") == 2 * n)
    assert service.metric("recsys_arm_attributed", arm="b", count="slots") == 4 * (12 - n)
