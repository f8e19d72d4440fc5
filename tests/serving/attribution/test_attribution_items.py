"""How items do where they are shown is counted live, on top of what the log's counters know."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import orjson
import pytest
from redis import Redis

from features.errors import InputError
from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory
from serving.nearline.appeal import PACKED, LiveCounting, begin, field, named
from serving.nearline.attribution import Attribution, attribute
from tests.serving.attribution.clicks import KEYS, click, count_until_killed, counted, run, show

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


def test_a_change_is_told_behind_those_before_it_also_where_the_clock_was_put_back(
    client: Redis, log_counters: Any
) -> None:
    ahead_ms = int(time.time() * 1000) + 3_600_000  # by the clock of the server that has failed
    begin(client, KEYS, log_counters())
    client.zadd(KEYS.appeal_changed, {field("", "x"): ahead_ms})
    feed(client, "new", "yq", at=100.0)
    run(client, counters=log_counters())
    changed: Any = client.zrangebyscore(KEYS.appeal_changed, ahead_ms, "+inf")
    assert {named(one)[1] for one in changed} == {"x", "y", "q"}


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
