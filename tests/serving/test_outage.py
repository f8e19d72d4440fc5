"""Redis goes away and comes back; shoppers notice as little as can be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from recsys.bundle import Bundle
from serving.keys import Keys
from serving.publishing import Publisher


def view(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event_type": "view", **more}


@pytest.fixture
def published(mortal_redis: Any, small_bundle: Path, start_service: Callable[..., Any], tmp_path: Path) -> Any:
    """A service on a Redis that the test may kill."""
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "state").publish(Bundle.open(small_bundle))
    return start_service(bundle=small_bundle, redis_url=mortal_redis.url)


def test_a_lost_redis_costs_no_answer_is_counted_and_recovers_by_itself(
    published: Any, mortal_redis: Any, eventually: Any
) -> None:
    similar = published.get("/v1/items/i3/similar").json()
    assert (similar["store"], published.feed("u1")["store"]) == ("redis", "redis")
    mortal_redis.kill()
    for _ in range(5):
        for path in ("/v1/items/i3/similar", "/v1/users/u1/feed", "/v1/items", "/v1/items/i3", "/v1/users/u1"):
            answer = published.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.json().get("store") in (None, "bundle")
    alone = published.get("/v1/items/i3/similar").json()
    assert [slot["item"] for slot in alone["recommendations"]] == [slot["item"] for slot in similar["recommendations"]]
    assert published.metric("recsys_bundle_fallbacks_total", surface="similar", reason="redis is down") == 6
    assert published.metric("recsys_bundle_fallbacks_total", surface="feed", reason="redis is down") == 5
    assert published.metric("recsys_redis_failures_total") >= 3
    assert published.metric("recsys_redis_up") == 0
    assert published.get("/ready").json() == {
        "ready": True,
        "version": similar["model_version"],
        "redis": "down",
        "pending_events": 0,
        "policies": "files",
    }
    mortal_redis.start()
    eventually(lambda: published.get("/v1/items/i3/similar").json()["store"] == "redis")
    assert published.feed("u1")["store"] == "redis"
    assert published.metric("recsys_redis_up") == 1


def test_without_redis_a_feed_still_follows_what_is_viewed_before_and_during(
    published: Any, mortal_redis: Any, eventually: Any
) -> None:
    published.post(view("visitor", "i10"))
    mortal_redis.kill()
    before = published.feed_ids("visitor")
    assert "i10" not in before
    assert published.post(view("visitor", before[0])).json() == {"accepted": 1, "duplicates": 0, "refused": []}
    after = published.feed("visitor")
    assert after["store"] == "bundle"
    assert after["source"] == "personalized"
    assert not {"i10", before[0]} & {slot["item"]["item_id"] for slot in after["recommendations"]}


def test_events_of_an_outage_are_applied_once_when_redis_is_back(
    published: Any, mortal_redis: Any, eventually: Any
) -> None:
    published.post(view("visitor", "i10", event_id="before"))
    mortal_redis.kill()
    batch = [view("visitor", "i12", event_id="a"), view("visitor", "i14", event_id="b")]
    assert published.post(*batch).json()["accepted"] == 2
    assert published.post(*batch).json() == {"accepted": 0, "duplicates": 2, "refused": []}
    published.post(view("visitor", "i10", event_id="before"))  # cannot be known as a duplicate now, is found out later
    assert published.get("/ready").json()["pending_events"] == 3
    assert published.metric("recsys_pending_events") == 3
    mortal_redis.start()
    eventually(lambda: published.get("/ready").json()["redis"] == "up")
    assert published.get("/ready").json()["pending_events"] == 0
    with mortal_redis.client() as client:
        stored = [entry[0] for entry in map(orjson.loads, client.lrange(Keys().recent("visitor"), 0, -1))]
        assert stored == ["i14", "i12", "i10"]
        assert client.xlen(Keys().events) == 3
    assert published.metric("recsys_pending_events_replayed_total") == 3
    assert published.post(*batch).json()["duplicates"] == 2


def test_a_redis_that_comes_back_empty_is_answered_around(
    mortal_redis: Any, small_bundle: Path, start_service: Callable[..., Any], eventually: Any, tmp_path: Path
) -> None:
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "state").publish(Bundle.open(small_bundle))
    published = start_service(bundle=small_bundle, redis_url=mortal_redis.url, restore=False)
    mortal_redis.forget_everything()
    for _ in range(3):
        answer = published.get("/v1/items/i3/similar").json()
        assert (answer["store"], len(answer["recommendations"])) == ("bundle", 12)
        feed = published.feed("u1")
        assert (feed["store"], feed["source"]) == ("bundle", "personalized")
    assert published.metric("recsys_bundle_fallbacks_total", surface="similar", reason="not published") == 3
    published.post(view("visitor", "i10"))
    assert "i10" not in published.feed_ids("visitor")
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "state").publish(Bundle.open(small_bundle))
    eventually(lambda: published.get("/v1/items/i3/similar").json()["store"] == "redis")


def test_a_deletion_is_not_promised_while_redis_is_away(published: Any, mortal_redis: Any) -> None:
    mortal_redis.kill()
    answer = httpx.delete(published.base_url + "/v1/users/u1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["type"] == "urn:recsys:problem:store-down"


def test_a_service_without_any_redis_answers_from_its_bundle(start_service: Any, small_bundle: Path) -> None:
    alone = start_service(bundle=small_bundle)
    assert alone.get("/ready").json()["redis"] == "none"
    first = alone.feed("u1")
    assert first["store"] == "bundle"
    viewed = first["recommendations"][0]["item"]["item_id"]
    alone.post(view("u1", viewed))
    assert viewed not in alone.feed_ids("u1")
    assert httpx.delete(alone.base_url + "/v1/users/u1").status_code == 204
    assert alone.feed_ids("u1") == [slot["item"]["item_id"] for slot in first["recommendations"]]


def test_a_service_with_neither_bundle_nor_version_says_it_is_not_ready(
    start_service: Any, redis_server: Any, publisher: Any, small_bundle: Path, eventually: Any
) -> None:
    waiting = start_service(redis_url=redis_server.url)
    assert waiting.get("/health").json() == {"status": "alive"}
    assert waiting.get("/ready").status_code == 503
    answer = waiting.get("/v1/users/u1/feed")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:recsys:problem:not-ready"
    publisher.publish(Bundle.open(small_bundle))
    eventually(lambda: waiting.get("/ready").status_code == 200)
    assert waiting.feed("u1")["store"] == "redis"


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_redis_that_takes_no_writes_still_answers_and_hears_of_the_events_later(
    published: Any, mortal_redis: Any, eventually: Any, trouble: str
) -> None:
    with mortal_redis.client() as client:
        if trouble == "full":
            client.config_set("maxmemory", 1)
        else:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        for number in range(6):
            assert published.post(view("ann", f"i{2 * number}", event_id=f"e{number}")).status_code == 202
            assert published.get("/v1/items/i3/similar").json()["store"] == "redis"
            shown = published.feed("ann")
            assert shown["store"] == "redis"
            assert all(int(slot["item"]["item_id"][1:]) % 2 == 0 for slot in shown["recommendations"])
            assert not {f"i{2 * n}" for n in range(number + 1)} & set(published.feed_ids("ann"))
        assert published.get("/ready").json()["pending_events"] == 6
        assert published.metric("recsys_redis_up") == 1
        assert published.metric("recsys_redis_refusals_total") >= 6
        assert client.llen(Keys().recent("ann")) == 0
        if trouble == "full":
            client.config_set("maxmemory", 0)
        else:
            client.execute_command("REPLICAOF", "NO", "ONE")
        eventually(lambda: published.get("/ready").json()["pending_events"] == 0)
        assert client.llen(Keys().recent("ann")) == 6
        eventually(lambda: client.xlen(Keys().impressions) == 18)  # what was shown meanwhile is logged too


def test_a_redis_that_hangs_does_not_hang_the_service(
    published: Any, start_service: Any, mortal_redis: Any, eventually: Any
) -> None:
    impatient = start_service(redis_url=mortal_redis.url, redis_timeout_s=0.1)
    with mortal_redis.standing_still():
        began = time.monotonic()
        for _ in range(50):
            assert impatient.feed("u1")["store"] == "bundle"
        assert impatient.metric("recsys_redis_up") == 0
        took_s = time.monotonic() - began
        # after a few nobody asks but the prober, at most every 0.15 s
        assert impatient.metric("recsys_redis_failures_total") < 15 + took_s / 0.15
        assert took_s < 20
    eventually(lambda: impatient.feed("u1")["store"] == "redis")


@contextmanager
def sluggish(server: Any, *, pause_ms: int, between_s: float) -> Iterator[None]:
    """A Redis that answers nothing for a while, then a few, then nothing again, as one does that is short of CPU."""
    over = threading.Event()

    def hold_up() -> None:
        with server.client() as client:
            while not over.wait(between_s):
                client.execute_command("CLIENT", "PAUSE", pause_ms, "ALL")
                client.ping()  # is answered when the pause ends

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_slow_redis_keeps_nobody_waiting_and_every_event_counts_once(
    published: Any, start_service: Any, mortal_redis: Any, eventually: Any
) -> None:
    impatient = start_service(redis_url=mortal_redis.url, redis_timeout_s=0.1)
    expected = impatient.get("/v1/items/i3/similar").json()["recommendations"]
    stores = set()
    with sluggish(mortal_redis, pause_ms=1500, between_s=0.3):
        end, number = time.monotonic() + 8, 0
        while time.monotonic() < end:
            for ask in (
                lambda: impatient.get("/v1/items/i3/similar"),
                lambda: impatient.get("/v1/users/u1/feed"),
                lambda n=number: impatient.post(view("ann", f"i{n % 50}", event_id=f"e{n}")),
            ):
                began = time.monotonic()
                answer = ask()
                assert time.monotonic() - began < 1.2  # less than a pause of Redis
                assert answer.is_success, answer.text
                stores.add(answer.json().get("store"))
            similar = impatient.get("/v1/items/i3/similar").json()["recommendations"]
            assert [slot["item"] for slot in similar] == [slot["item"] for slot in expected]
            number += 1
            time.sleep(0.02)
    assert {"redis", "bundle"} <= stores  # it was slow, and it was not gone
    assert impatient.metric("recsys_redis_failures_total") >= 3
    eventually(lambda: impatient.get("/ready").json()["pending_events"] == 0)
    eventually(lambda: impatient.feed("u1")["store"] == "redis")
    with mortal_redis.client() as client:  # an event whose answer came too late was applied, and was sent again
        applied = client.lrange(Keys().recent("ann"), 0, -1)
        assert len(applied) == min(number, 200)
        assert len(set(applied)) == len(applied)


def test_a_redis_that_was_never_there_is_told_once_with_its_address(
    start_service: Callable[..., Any], small_bundle: Path, eventually: Any
) -> None:
    with capture_logs() as told:
        service = start_service(bundle=small_bundle, redis_url="redis://app:word@127.0.0.1:1/0")
        eventually(lambda: service.metric("recsys_redis_failures_total") > 6)
    away = [one for one in told if one["event"] == "redis does not answer, the bundle does"]
    assert [(one["log_level"], one["redis"]) for one in away] == [("warning", "redis://app:***@127.0.0.1:1/0")]
    assert service.feed("u1")["store"] == "bundle"
