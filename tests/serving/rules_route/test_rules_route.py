"""What rules do to answers, wherever they hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from recsys.bundle import Bundle
from serving.keys import Keys
from serving.publishing import Publisher
from tests.serving.rules_route.asking import ids, post, put, similar


def test_rules_hold_for_similar_items_feeds_and_sessions_as_soon_as_they_are_put(service: Any) -> None:
    assert similar(service)["rules_version"] == 0
    done = put(service, {"name": "cheap", "keep": "price < 30"}, {"name": "no Acme", "hide": "brand = acme"})
    assert done.json() == {"version": 1, "warnings": []}
    assert done.headers["etag"] == '"1"'
    session = post(service, "/v1/recommend", session=["i10"]).json()
    for answer in (similar(service), service.feed("u1"), service.feed("nobody"), session):
        assert answer["rules_version"] == 1
        assert len(answer["recommendations"]) == 12
        for slot in answer["recommendations"]:
            assert slot["item"]["price"] < 30
            assert slot["item"]["attributes"]["brand"] != ["Acme"]


def test_a_hard_filter_alone_can_leave_an_answer_short_or_empty(service: Any) -> None:
    put(service, {"name": "two", "keep": "item_id in (i5, i7)"})
    assert sorted(ids(similar(service))) == ["i5", "i7"]
    put(service, {"name": "none", "hide": "price < 1000"})
    assert service.feed_ids("nobody") == []
    put(service, {"name": "cap", "cap": "color", "at_most": 1})
    assert len(service.feed_ids("nobody")) == 12  # three colors: a cap gives way before a slot stays empty


def test_pins_caps_and_boosts_shape_a_page(service: Any) -> None:
    before = ids(similar(service))
    put(
        service,
        {"name": "pin", "pin": "i40", "slot": 2},
        {"name": "cap", "cap": "brand", "at_most": 3},
        {"name": "boost", "boost": f"item_id = {before[5]}", "factor": 100},
    )
    answer = similar(service)
    assert ids(answer)[:2] == [before[5], "i40"]
    assert answer["recommendations"][1]["source"] == "pinned"
    assert answer["recommendations"][1]["reasons"] == ["chosen by the shop"]
    brands = [slot["item"]["attributes"]["brand"][0] for slot in answer["recommendations"]]
    assert max(brands.count(brand) for brand in brands) == 3


def test_rules_go_by_scenario_and_segment(service: Any) -> None:
    put(
        service,
        {"name": "cart", "keep": "brand = Bolt", "when": {"scenarios": ["cart"]}},
        {"name": "new", "keep": "color = Red", "when": {"segments": ["new", "anonymous"], "scenarios": ["feed"]}},
    )

    def having(answer: dict[str, Any], name: str) -> set[str]:
        return {slot["item"]["attributes"][name][0] for slot in answer["recommendations"]}

    assert having(similar(service, scenario="cart"), "brand") == {"Bolt"}
    assert len(having(similar(service), "brand")) > 1
    assert having(service.feed("nobody"), "color") == {"Red"}
    assert len(having(service.feed("u1"), "color")) > 1


def test_what_was_bought_comes_back_after_so_many_days_and_what_was_viewed_fades_in(service: Any) -> None:
    now = time.time()
    day = 86_400.0
    before = service.feed_ids("visitor", 12)
    events = [
        ("purchase", before[0], 40.0),
        ("purchase", before[1], 2.0),
        ("view", before[2], 300.0),
        ("view", before[3], 0.0),
    ]
    for kind, item_id, days in events:
        event = {"user_id": "visitor", "item_id": item_id, "event_type": kind, "timestamp": now - days * day}
        assert service.post(event).json()["accepted"] == 1
    assert not set(before[:4]) & set(service.feed_ids("visitor", 50))
    put(
        service,
        seen={"bought": {"policy": "replenish", "days": 30}, "viewed": {"policy": "decay", "days": 10}},
    )
    after = service.feed_ids("visitor", 50)
    assert before[0] in after
    assert before[2] in after
    assert not {before[1], before[3]} & set(after)
    known = service.feed_ids("u1", 50)
    put(service, seen={"trained": "allow"})
    assert set(service.feed_ids("u1", 50)) - set(known)


def test_what_was_viewed_stands_further_down_until_it_has_faded_in(service: Any) -> None:
    item_id = service.feed_ids("visitor", 12)[0]
    event = {"user_id": "visitor", "item_id": item_id, "event_type": "view", "timestamp": time.time() - 2 * 86_400}
    assert service.post(event).json()["accepted"] == 1
    places = []
    for viewed in ({"policy": "allow"}, {"policy": "decay", "days": 3}, {"policy": "decay", "days": 12}):
        put(service, seen={"viewed": viewed})
        places.append(service.feed_ids("visitor", 50).index(item_id))
    assert places[0] < places[1] < places[2]


def test_what_is_explored_is_logged_with_its_probabilities(service: Any, redis_server: Any, eventually: Any) -> None:
    put(service, exploration={"temperature": 0.5, "epsilon": 0.1})
    answers = [similar(service, k=5) for _ in range(6)]
    assert len({tuple(ids(answer)) for answer in answers}) > 1
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 6)
        logged = {fields[b"recommendation_id"].decode(): fields for _, fields in client.xrange(Keys().impressions)}
    for answer in answers:
        fields = logged[answer["recommendation_id"]]
        slots = orjson.loads(fields[b"slots"])
        assert slots["propensities"] == [slot["propensity"] for slot in answer["recommendations"]]
        assert all(0 < chance < 1 for chance in slots["propensities"])
        assert slots["marginals"][0] == pytest.approx(slots["propensities"][0])
        assert all(chance is None or 0 < chance < 1 for chance in slots["marginals"])
        assert fields[b"rules_version"] == b"1"


def test_the_next_page_shows_nothing_again_and_pins_nothing_twice(service: Any) -> None:
    done = put(service, {"name": "pin", "pin": "i40", "slot": 7}, exploration={"temperature": 0.5, "pool": 20})
    assert done.json()["version"] == 1
    first = similar(service, k=5)
    second = similar(service, k=5, cursor=first["next_cursor"])
    third = similar(service, k=5, cursor=second["next_cursor"])
    assert ids(second)[1] == "i40"
    assert len({*ids(first), *ids(second), *ids(third)}) == 15


def test_rules_go_by_a_price_that_was_just_changed_and_by_an_item_that_just_joined(
    start_service: Callable[..., Any], redis_server: Any, publisher: Publisher, growing: Path
) -> None:
    publisher.publish(Bundle.open(growing))
    shop = start_service(bundle=growing, redis_url=redis_server.url)
    assert put(shop, {"name": "cheap", "keep": "price < 10"}).status_code == 200
    cheap = shop.feed_ids("u0", 50)
    assert cheap
    assert shop.say("PATCH", cheap[0], {"price": 77.0}).status_code == 200
    assert cheap[0] not in shop.feed_ids("u0", 50)
    for item_id, price in (("n0", 3.0), ("n1", 33.0)):
        assert shop.say("PUT", item_id, {"title": "Red mug", "price": price}).status_code == 200
    assert {"n0", "n1"} & set(shop.feed_ids("u0", 50)) == {"n0"}


def test_the_debug_page_names_the_rules_that_hide_or_move_an_item(service: Any) -> None:
    put(
        service,
        {"name": "cheap", "keep": "price < 30"},
        {"name": "up", "boost": "brand = Dune"},
        {"name": "elsewhere", "hide": "price > 0", "when": {"scenarios": ["home"]}},
        {"name": "hero", "pin": "i7"},
    )
    hidden = service.get("/v1/items/i51/debug", page="i3").json()["why"]  # of Dune, price 56
    assert (hidden["slot"], hidden["hidden_by"], hidden["rules"]) == (None, ["not allowed"], ["cheap", "up"])
    pinned = service.get("/v1/items/i7/debug", page="i3").json()["why"]
    assert (pinned["slot"], pinned["rules"]) == (1, ["up", "hero"])
    at_home = service.get("/v1/items/i7/debug", user_id="u1", scenario="home").json()["why"]
    assert at_home["rules"] == ["elsewhere", "up", "hero"]


def test_hard_filters_hold_for_searches_too(
    start_service: Callable[..., Any], redis_server: Any, publisher: Publisher, growing: Path
) -> None:
    publisher.publish(Bundle.open(growing))
    shop = start_service(bundle=growing, redis_url=redis_server.url)

    def found(**more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = shop.ask("/v1/search", {"words": "red mug", "k": 24, **more}).json()
        return answer

    before = [result["item"]["item_id"] for result in found()["results"]]
    rule = {"name": "no", "hide": f"item_id = {before[0]} or text contains {before[1]}"}
    assert put(shop, rule, {"name": "cap", "cap": "color", "at_most": 1}).status_code == 200
    after = found()
    assert [result["item"]["item_id"] for result in after["results"]] == before[1:]
    assert after["rules_version"] == 1
    put(shop, {"name": "not here", "hide": f"item_id = {before[0]}", "when": {"scenarios": ["feed"]}})
    assert len(found()["results"]) == len(before)
