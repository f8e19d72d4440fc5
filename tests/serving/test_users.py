from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from recsys.bundle import Bundle
from serving import store
from serving.describing import describe
from serving.keys import Keys


def view(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event_type": "view", **more}


def test_a_known_user_gets_the_list_published_for_them(service: Any, small_bundle: Path) -> None:
    answer = service.feed("u1")
    assert answer["source"] == "published"
    assert answer["store"] == "redis"
    assert all("shoe" in slot["item"]["title"] for slot in answer["recommendations"])  # odd users like odd items
    bundle = Bundle.open(small_bundle)
    liked = {bundle.items[row] for row in bundle.seen(bundle.users.idx("u1")).tolist()}
    assert not liked & set(service.feed_ids("u1"))


def test_a_stranger_gets_what_is_popular(service: Any) -> None:
    answer = service.feed("nobody knows me")
    assert answer["source"] == "popular"
    assert len(answer["recommendations"]) == 12


def test_a_viewed_item_changes_the_same_user_s_next_feed_and_is_not_shown_again(service: Any) -> None:
    before = service.feed_ids("visitor")
    viewed = "i10"
    assert service.post(view("visitor", viewed)).status_code == 202
    after = service.feed("visitor")
    shown = [slot["item"]["item_id"] for slot in after["recommendations"]]
    assert viewed not in shown
    assert shown != before
    assert after["source"] == "personalized"
    assert all("mug" in slot["item"]["title"] for slot in after["recommendations"])  # i10 is a mug
    assert service.feed_ids("somebody else") == before


def test_a_published_list_gives_way_to_live_behavior(service: Any) -> None:
    first = service.feed_ids("u1")[0]
    service.post(view("u1", first))
    answer = service.feed("u1")
    assert answer["source"] == "personalized"
    assert first not in [slot["item"]["item_id"] for slot in answer["recommendations"]]
    assert any("you viewed" in reason for reason in answer["recommendations"][0]["reasons"])


def test_what_a_user_did_is_listed_newest_last_with_the_items(service: Any) -> None:
    service.post(view("u2", "i4", timestamp=1.6e9), view("u2", "i6", timestamp=1.7e9))
    answer = service.get("/v1/users/u2").json()
    assert [(event["item_id"], event["timestamp"]) for event in answer["events"]] == [("i4", 1.6e9), ("i6", 1.7e9)]
    assert answer["events"][1]["item"]["title"] == "Red mug 6"
    assert answer["user_id"] == "u2"
    assert service.get("/v1/users/nobody").json() == {
        "user_id": "nobody",
        "attributes": {},
        "events": [],
        "store": "redis",
    }


def test_an_event_counts_by_its_time_not_by_when_it_arrives_and_once(service: Any) -> None:
    now = time.time()
    service.post(view("visitor", "i10", timestamp=now - 10, event_id="mug"))
    late = view("visitor", "i11", timestamp=now - 40 * 86_400, event_id="shoe")  # a shoe, more than a month ago
    assert service.post(late).json()["accepted"] == 1
    shown = service.feed("visitor", 4)["recommendations"]
    assert all("mug" in slot["item"]["title"] for slot in shown)  # by arrival the shoe would be the newest
    assert service.post(late).json() == {"accepted": 0, "duplicates": 1, "refused": []}
    events = service.get("/v1/users/visitor").json()["events"]
    assert [event["item_id"] for event in events] == ["i11", "i10"]
    assert "i11" not in service.feed_ids("visitor", 58)


def test_a_forgotten_user_is_a_stranger_again(service: Any, redis_server: Any) -> None:
    before = service.feed_ids("visitor")
    service.post(view("visitor", "i10"))
    assert service.feed_ids("visitor") != before
    assert httpx.delete(service.base_url + "/v1/users/visitor").status_code == 204
    assert service.get("/v1/users/visitor").json()["events"] == []
    assert service.feed_ids("visitor") == before
    with redis_server.client() as client:
        assert client.exists(Keys().recent("visitor"), Keys().seen("visitor")) == 0


def test_what_the_shop_says_of_a_user_is_kept_changed_and_forgotten(service: Any) -> None:
    def say(method: str, attributes: dict[str, list[str]]) -> Any:
        answer = httpx.request(method, service.base_url + "/v1/users/u1", json={"attributes": attributes})
        assert answer.status_code == 200, answer.text
        return answer.json()["attributes"]

    assert say("PUT", {"tier": ["gold"], "city": ["Oslo", "Bergen"]}) == {"tier": ["gold"], "city": ["Oslo", "Bergen"]}
    assert say("PATCH", {"tier": ["silver"], "city": []}) == {"tier": ["silver"]}
    assert say("PUT", {"size": ["M"]}) == {"size": ["M"]}
    assert service.feed("u1")["source"] == "published"  # it is still the same user
    assert httpx.delete(service.base_url + "/v1/users/u1").status_code == 204
    assert service.get("/v1/users/u1").json()["attributes"] == {}
    refused = httpx.put(service.base_url + "/v1/users/u1", json={"attributes": {"tier": "gold"}})
    assert refused.json()["errors"][0]["place"] == "body.attributes.tier"


def test_many_users_are_told_of_at_once_and_a_user_named_twice_is_refused_by_name(service: Any) -> None:
    def tell(mode: str, *users: tuple[str, dict[str, list[str]]]) -> Any:
        said = [{"user_id": user_id, "attributes": attributes} for user_id, attributes in users]
        return httpx.post(service.base_url + "/v1/users", json={"mode": mode, "users": said})

    def known(user_id: str) -> Any:
        return service.get(f"/v1/users/{user_id}").json()["attributes"]

    gold, oslo = {"tier": ["gold"]}, {"city": ["Oslo"]}
    done = tell("put", ("u1", gold | oslo), ("new%20one", gold), ("u1", {}))
    assert done.json() == {
        "accepted": 2,
        "refused": [
            {
                "index": 2,
                "user_id": "u1",
                "rule": "a user may be named once in a batch",
                "place": "body.users.2.user_id",
                "value": "u1",
            }
        ],
    }
    assert (known("u1"), known("new%2520one")) == (gold | oslo, gold)
    assert tell("patch", ("u1", {"tier": []})).json() == {"accepted": 1, "refused": []}
    assert known("u1") == oslo
    assert tell("put", ("u1", gold)).status_code == 200
    assert known("u1") == gold  # a put is all there is to say
    refused = tell("put", ("u3", {"tier": [" "]}), ("u2", gold), ("", gold)).json()
    assert refused["accepted"] == 1
    assert [(one["index"], one["user_id"], one["place"], one["value"]) for one in refused["refused"]] == [
        (0, "u3", "body.users.0.attributes.tier.0", " "),
        (2, "", "body.users.2.user_id", ""),
    ]
    assert "pattern" in refused["refused"][0]["rule"]
    assert (known("u2"), known("u3")) == (gold, {})
    whole = tell("put", *((f"user {n}", gold) for n in range(501)))
    assert whole.status_code == 422
    assert "nothing of this import was taken" in whole.json()["detail"]
    assert tell("put", *((f"user {n}", gold) for n in range(500))).json()["accepted"] == 500
    assert [known(f"user%20{n}") for n in (0, 49, 50, 499)] == [gold] * 4


def test_users_of_one_import_are_told_to_redis_many_at_once_and_no_more_than_it_has_time_for(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []

    async def counted(client: Any, **given: Any) -> None:
        batches.append(len(given["said"]))
        await describe(client, **given)

    monkeypatch.setattr(store, "describe", counted)
    users = [{"user_id": f"u{n}", "attributes": {"tier": ["gold"]}} for n in range(120)]
    assert httpx.post(service.base_url + "/v1/users", json={"users": users}).json()["accepted"] == 120
    assert batches == [50, 50, 20]


def test_a_rule_may_hold_for_users_of_whom_the_shop_says_something(service: Any) -> None:
    rule = {"name": "no mugs for gold", "hide": "category under Kitchen", "when": {"segments": ["tier:gold"]}}
    body = {"rules": [rule]}
    assert httpx.put(service.base_url + "/v1/rules", json=body).status_code in (200, 201)
    before = service.feed("u2", 4)["recommendations"]  # who likes mugs
    assert any("mug" in slot["item"]["title"] for slot in before)
    httpx.put(service.base_url + "/v1/users/u2", json={"attributes": {"tier": ["gold"]}})
    after = service.feed("u2", 4)["recommendations"]
    assert after
    assert not any("mug" in slot["item"]["title"] for slot in after)


def test_a_forgotten_user_is_cleared_from_the_streams_but_not_from_what_comes_later(
    start_service: Any, redis_server: Any, publisher: Any, small_bundle: Path, eventually: Any
) -> None:
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(bundle=small_bundle, redis_url=redis_server.url, erase_every_s=0.1)
    for user_id in ("gone", "stays"):
        service.post(view(user_id, "i10"))
        service.feed(user_id)
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 2)
        httpx.delete(service.base_url + "/v1/users/gone")
        time.sleep(0.01)
        service.post(view("gone", "i12"))
        eventually(lambda: client.zcard(Keys().erasing) == 0)
        events = [(fields[b"user_id"], fields[b"item_id"]) for _, fields in client.xrange(Keys().events)]
        assert events == [(b"stays", b"i10"), (b"gone", b"i12")]
        assert [fields[b"subject"] for _, fields in client.xrange(Keys().impressions)] == [b"stays"]


def test_forgetting_reaches_the_memory_of_every_worker(
    start_service: Any, service: Any, redis_server: Any, small_bundle: Path, eventually: Any
) -> None:
    other = start_service(bundle=small_bundle, redis_url=redis_server.url)
    other.post(view("visitor", "i10"))
    assert other.app.state.memory.state("visitor").recent
    httpx.delete(service.base_url + "/v1/users/visitor")
    eventually(lambda: not other.app.state.memory.state("visitor").recent)


def test_a_user_id_may_hold_what_it_likes(service: Any) -> None:
    for user_id in ("a/b", "{x}", "a b", "é", "x/feeder"):
        service.post(view(user_id, "i10"))
        path = f"/v1/users/{quote(user_id, safe='')}"
        assert [event["item_id"] for event in service.get(path).json()["events"]] == ["i10"]
        assert service.get(path + "/feed").json()["source"] == "personalized"
    assert service.get("/v1/users/" + "x" * 257 + "/feed").status_code == 422


def test_every_answer_is_logged_with_the_probability_of_each_slot(
    service: Any, redis_server: Any, eventually: Any
) -> None:
    answers = {"feed": service.feed("u1", 3), "similar": service.get("/v1/items/i3/similar", k=3).json()}
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 2)
        logged = {fields[b"surface"].decode(): fields for _, fields in client.xrange(Keys().impressions)}
    for surface, answer in answers.items():
        fields = logged[surface]
        assert fields[b"recommendation_id"].decode() == answer["recommendation_id"]
        assert fields[b"model_version"].decode() == answer["model_version"]
        slots = orjson.loads(fields[b"slots"])
        assert slots["items"] == [slot["item"]["item_id"] for slot in answer["recommendations"]]
        assert slots["sources"] == [slot["source"] for slot in answer["recommendations"]]
        assert slots["propensities"] == [1.0, 1.0, 1.0]
    assert logged["feed"][b"subject"] == b"u1"
    assert logged["similar"][b"subject"] == b"i3"
