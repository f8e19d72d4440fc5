"""What a worker keeps of what it sent: bounded, and never older than what Redis holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import orjson

from recsys.bundle import Bundle
from recsys.kept import Kept
from serving.codec import pack, unpack
from serving.keys import Keys
from serving.publishing import Publisher


def test_what_was_asked_for_lately_stays_within_the_cap() -> None:
    kept: Kept[int, str] = Kept(1000)
    for number in range(100):
        kept.keep(number, str(number), 50)
        assert kept.get(0) == "0"  # asked for all the time
    there = [number for number in range(100) if kept.get(number) is not None]
    assert 0 in there
    assert set(range(92, 100)) <= set(there)
    assert len(there) <= 1000 / 50 + 1


def test_what_is_too_large_is_not_kept_and_a_value_replaces_its_older_one() -> None:
    kept: Kept[str, str] = Kept(100)
    kept.keep("a", "large", 51)
    assert kept.get("a") is None
    for value in ("one", "two", "three"):
        kept.keep("a", value, 30)
        assert kept.get("a") == value
    assert Kept[str, str](0).get("a") is None


def test_what_goes_is_given_back_a_few_values_at_a_time() -> None:
    class Value:
        """Something that can be watched."""

    kept: Kept[int, Value] = Kept(2_000)
    alive: WeakSet[Value] = WeakSet()
    before = 0
    for number in range(6_000):
        value = Value()
        alive.add(value)
        kept.keep(number, value, 1)
        del value
        assert before - len(alive) <= 3  # four went, one came
        before = len(alive)
        assert len(alive) <= 3_000 + 1  # two generations, and what is left of a third
    kept.let_go()
    assert (len(alive), kept.values()) == (0, [])


def test_a_kept_list_is_sent_under_a_new_id_and_logged_again(service: Any, redis_server: Any, eventually: Any) -> None:
    answers = [service.get("/v1/items/i3/similar", k=5).json() for _ in range(3)]
    assert service.metric("recsys_cache_total", cache="answers", outcome="hit") == 2
    ids = [answer.pop("recommendation_id") for answer in answers]
    assert len(set(ids)) == 3
    assert answers[0] == answers[1] == answers[2]
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 3)
        logged = [fields for _, fields in client.xrange(Keys().impressions)]
    assert [fields[b"recommendation_id"].decode() for fields in logged] == ids
    assert len({fields[b"slots"] for fields in logged}) == 1


def test_a_kept_list_is_as_new_as_what_redis_holds(service: Any, redis_server: Any) -> None:
    first = service.get("/v1/items/i3/similar", k=3).json()
    key = Keys().similar(first["model_version"], "i3")
    with redis_server.client() as client:
        stored = client.get(key)
        assert isinstance(stored, bytes)
        client.set(key, pack(unpack(stored)[::-1]))
    second = service.get("/v1/items/i3/similar", k=3).json()
    assert second["recommendations"] != first["recommendations"]


def test_answers_of_another_kind_are_kept_apart(service: Any) -> None:
    three, five = (service.get("/v1/items/i3/similar", k=k).json() for k in (3, 5))
    assert [len(one["recommendations"]) for one in (three, five)] == [3, 5]
    other = service.get("/v1/items/i5/similar", k=3).json()
    assert other["recommendations"] != three["recommendations"]
    assert service.metric("recsys_cache_total", cache="answers", outcome="hit") == 0


def test_a_changed_item_is_shown_as_it_is_now(
    start_service: Callable[..., Any], redis_server: Any, publisher: Publisher, small_bundle: Path
) -> None:
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(bundle=small_bundle, redis_url=redis_server.url)
    first = service.get("/v1/items/i3/similar", k=3).json()
    item_id = first["recommendations"][0]["item"]["item_id"]
    with service.client() as client:
        changed = client.patch(
            f"/v1/items/{item_id}", content=orjson.dumps({"price": 0.5}), headers={"content-type": "application/json"}
        )
        assert changed.status_code == 200, changed.text
    began = time.monotonic()
    second = service.get("/v1/items/i3/similar", k=3).json()
    assert time.monotonic() - began < 5
    assert next(s["item"]["price"] for s in second["recommendations"] if s["item"]["item_id"] == item_id) == 0.5
