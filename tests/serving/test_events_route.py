from __future__ import annotations

from typing import Any

import httpx
import pytest

from serving.keys import Keys


def view(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event_type": "view", **more}


def test_a_batch_sent_again_is_applied_once(service: Any, redis_server: Any) -> None:
    batch = [view("u1", "i10", event_id="a"), view("u1", "i12", event_id="b")]
    assert service.post(*batch).json() == {"accepted": 2, "duplicates": 0, "refused": []}
    assert service.post(*batch).json() == {"accepted": 0, "duplicates": 2, "refused": []}
    events = service.get("/v1/users/u1").json()["events"]
    assert [event["item_id"] for event in events] == ["i10", "i12"]
    with redis_server.client() as client:
        assert client.xlen(Keys().events) == 2


def test_an_event_twice_in_one_batch_counts_once_and_per_user(service: Any) -> None:
    answer = service.post(
        view("u1", "i10", event_id="a"), view("u1", "i10", event_id="a"), view("u2", "i10", event_id="a")
    )
    assert answer.json() == {"accepted": 2, "duplicates": 1, "refused": []}


def test_a_bad_event_is_refused_by_rule_and_the_others_are_taken(service: Any) -> None:
    answer = service.post(view("u1", "i10"), view("u1", "gone"), view("u1", "i12", timestamp=-5.0), view("", "i12"))
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 0,
        "refused": [
            {"index": 1, "rule": "item_id must be in the catalog", "value": "gone"},
            {
                "index": 2,
                "rule": "timestamp must be UTC seconds, not before 1990 and not in the future",
                "value": -5.0,
            },
            {"index": 3, "rule": "user_id must have 1 to 256 characters", "value": ""},
        ],
    }
    assert service.metric("recsys_events_total", outcome="refused") == 3
    assert service.metric("recsys_events_total", outcome="accepted") == 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"events": []}', "body.events"),
        (b'{"events": [{"user_id": "u1", "item_id": "i1"}]}', "body.events.0.event_type"),
        (b'{"events": [{"user_id": 7, "item_id": "i1", "event_type": "view"}]}', "body.events.0.user_id"),
        (b'{"events": [{"user_id": "u", "item_id": "i1", "event_type": "view", "n": 1}]}', "body.events.0.n"),
        (b'{"events": [' + b'{"user_id":"u","item_id":"i","event_type":"v"},' * 500 + b"{}]}", "body.events"),
    ],
)
def test_a_body_of_another_shape_is_refused_as_a_whole_naming_the_place(
    standing_service: Any, body: bytes, place: str
) -> None:
    answer = httpx.post(
        standing_service.base_url + "/v1/events", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    places = [error["place"] for error in answer.json()["errors"]]
    assert place in places
    assert standing_service.get("/v1/users/u1").json()["events"] == []


@pytest.mark.parametrize("headers", [{"content-type": "text/xml"}, {"content-type": ""}, {}])
def test_a_body_that_is_no_json_by_its_own_word_or_says_nothing_is_refused(
    standing_service: Any, headers: dict[str, str]
) -> None:
    body = b'{"events": [{"user_id": "u1", "item_id": "i1", "event_type": "view"}]}'
    answer = httpx.post(standing_service.base_url + "/v1/events", content=body, headers=headers)
    assert answer.status_code == 415
    assert answer.json()["type"] == "urn:recsys:problem:unsupported-media-type"
    assert standing_service.get("/v1/users/u1").json()["events"] == []


def test_a_body_past_the_limit_is_refused_declared_or_not(standing_service: Any) -> None:
    big = b" " * 1_000_001
    declared = httpx.post(
        standing_service.base_url + "/v1/events", content=big, headers={"content-type": "application/json"}
    )
    assert declared.status_code == 413

    def pieces() -> Any:
        for _ in range(11):
            yield b" " * 100_000

    streamed = httpx.post(
        standing_service.base_url + "/v1/events", content=pieces(), headers={"content-type": "application/json"}
    )
    assert streamed.status_code == 413
    assert streamed.json()["type"] == "urn:recsys:problem:body-too-large"


def test_recent_events_are_capped_and_expire(
    start_service: Any, redis_server: Any, publisher: Any, small_bundle: Any
) -> None:
    service = start_service(bundle=small_bundle, redis_url=redis_server.url, recent_cap=3, seen_cap=4, user_ttl_s=100)
    service.post(*(view("u1", f"i{item}", timestamp=1.7e9 + item) for item in range(10)))
    events = service.get("/v1/users/u1").json()["events"]
    assert [event["item_id"] for event in events] == ["i7", "i8", "i9"]
    with redis_server.client() as client:
        assert client.zrange(Keys().seen("u1"), 0, -1) == [b"i6", b"i7", b"i8", b"i9"]
        assert 0 < client.ttl(Keys().recent("u1")) <= 100
        assert 0 < client.ttl(Keys().seen("u1")) <= 100


def test_an_accepted_event_is_in_the_stream_with_the_answer_it_followed_from(service: Any, redis_server: Any) -> None:
    service.post(view("u1", "i10", event_id="e1", recommendation_id="r1", timestamp=1700000012.5))
    with redis_server.client() as client:
        [(_, fields)] = client.xrange(Keys().events)
    assert fields == {
        b"event_id": b"e1",
        b"user_id": b"u1",
        b"item_id": b"i10",
        b"event_type": b"view",
        b"timestamp": b"1700000012.5",
        b"recommendation_id": b"r1",
    }
