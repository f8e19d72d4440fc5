"""A feed that is sent again: only while nothing it was made of has changed, whoever changed it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys.bundle import Bundle
from recsys.documents import Window
from recsys.experiments import Experiments
from recsys.rules.model import RuleSet
from serving.keys import Keys
from serving.policies import Policies
from serving.publishing import Publisher


def view(user_id: str, item_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event_type": "view"}


def ids(answer: dict[str, Any]) -> list[str]:
    return [slot["item"]["item_id"] for slot in answer["recommendations"]]


def kept(service: Any) -> float:
    return float(service.metric("recsys_cache_total", cache="answers", outcome="hit"))


@pytest.fixture
def two_services(
    start_service: Callable[..., Any], redis_server: Any, publisher: Publisher, small_bundle: Path
) -> tuple[Any, Any]:
    """Two workers on one Redis."""
    publisher.publish(Bundle.open(small_bundle))
    one, other = (start_service(bundle=small_bundle, redis_url=redis_server.url) for _ in range(2))
    return one, other


def test_a_feed_of_which_nothing_changed_is_sent_again_under_a_new_id_and_logged_again(
    service: Any, redis_server: Any, eventually: Any
) -> None:
    service.post(view("visitor", "i10"))
    answers = [service.feed("visitor") for _ in range(3)]
    assert kept(service) == 2
    shown = [answer.pop("recommendation_id") for answer in answers]
    assert len(set(shown)) == 3
    assert answers[0] == answers[1] == answers[2]
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 3)
        logged = [fields for _, fields in client.xrange(Keys().impressions)]
    assert [fields[b"recommendation_id"].decode() for fields in logged] == shown
    assert {fields[b"subject"] for fields in logged} == {b"visitor"}


def test_an_event_that_another_worker_took_changes_the_next_feed(two_services: tuple[Any, Any]) -> None:
    one, other = two_services
    other.post(view("visitor", "i10"))
    first = [ids(one.feed("visitor")) for _ in range(2)][-1]
    assert kept(one) == 1
    other.post(view("visitor", first[0]))
    assert first[0] not in ids(one.feed("visitor"))


def test_the_first_event_of_a_stranger_changes_a_feed_that_was_kept(two_services: tuple[Any, Any]) -> None:
    one, other = two_services
    assert [one.feed("nobody")["source"] for _ in range(2)] == ["popular", "popular"]
    assert kept(one) == 1
    other.post(view("nobody", "i10"))
    assert one.feed("nobody")["source"] == "personalized"


def test_a_user_who_is_forgotten_is_a_stranger_at_once(two_services: tuple[Any, Any]) -> None:
    one, other = two_services
    one.post(view("visitor", "i10"))
    assert [one.feed("visitor")["source"] for _ in range(2)] == ["personalized", "personalized"]
    assert httpx.delete(other.base_url + "/v1/users/visitor", timeout=10).status_code == 204
    assert one.feed("visitor")["source"] == "popular"


def test_what_a_shop_says_of_a_user_changes_the_next_feed(two_services: tuple[Any, Any]) -> None:
    one, other = two_services
    rule = {"name": "gold only", "keep": "item_id in (i5, i7)", "when": {"segments": ["tier:gold"]}}
    assert httpx.put(one.base_url + "/v1/rules", json={"rules": [rule]}, timeout=10).status_code == 200
    one.post(view("visitor", "i10"))
    assert [len(ids(one.feed("visitor"))) for _ in range(2)] == [12, 12]
    assert kept(one) == 1
    said = {"attributes": {"tier": ["gold"]}}
    assert httpx.patch(other.base_url + "/v1/users/visitor", json=said, timeout=10).status_code == 200
    assert sorted(ids(one.feed("visitor"))) == ["i5", "i7"]


def test_new_rules_hold_for_a_feed_that_was_kept(service: Any) -> None:
    service.post(view("visitor", "i10"))
    first = [ids(service.feed("visitor")) for _ in range(2)][-1]
    rules = {"rules": [{"name": "hidden", "hide": f"item_id = {first[0]}"}]}
    assert httpx.put(service.base_url + "/v1/rules", json=rules, timeout=10).status_code == 200
    assert first[0] not in ids(service.feed("visitor"))


def test_an_item_that_sells_out_leaves_a_feed_that_was_kept(service: Any) -> None:
    service.post(view("visitor", "i10"))
    first = [ids(service.feed("visitor")) for _ in range(2)][-1]
    service.say("PATCH", first[0], {"available": False})
    assert first[0] not in ids(service.feed("visitor"))


def test_what_is_drawn_is_drawn_anew_and_a_next_page_is_made_anew(service: Any) -> None:
    service.post(view("visitor", "i10"))
    cursor = service.feed("visitor")["next_cursor"]
    for _ in range(2):
        service.get("/v1/users/visitor/feed", k=12, cursor=cursor)
    rules = {"rules": [], "exploration": {"temperature": 2.0, "marginal_draws": 0}}
    assert httpx.put(service.base_url + "/v1/rules", json=rules, timeout=10).status_code == 200
    assert len({tuple(ids(service.feed("visitor"))) for _ in range(5)}) > 1
    assert kept(service) == 0


def test_policies_are_steady_until_the_next_rule_or_experiment_begins_or_ends() -> None:
    start, end = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
    rule = {"name": "new year", "hide": "price < 5", "when": {"start": start, "end": end}}
    experiment = {"name": "e", "arms": [{"name": "a"}, {"name": "b"}], "end": "2030-01-01T12:00:00Z"}
    policies = Policies(
        rules={0: RuleSet.model_validate({"rules": [rule]})},
        experiments=Experiments.model_validate({"experiments": [experiment]}),
    )
    begins = Window.model_validate({"start": start}).begins_s
    for now_s, turn in ((begins - 1, 0), (begins, 43_200), (begins + 43_200, 86_400), (begins + 86_400, float("inf"))):
        assert policies.steady_until_s(now_s) == begins + turn


def test_a_rule_that_begins_holds_for_a_feed_that_was_kept(service: Any) -> None:
    service.post(view("visitor", "i10"))
    first = ids(service.feed("visitor"))
    begins = time.time() + 1.5
    rule = {
        "name": "soon",
        "hide": f"item_id = {first[0]}",
        "when": {"start": datetime.fromtimestamp(begins, UTC).isoformat()},
    }
    assert httpx.put(service.base_url + "/v1/rules", json={"rules": [rule]}, timeout=10).status_code == 200
    while time.time() < begins - 0.5:
        assert ids(service.feed("visitor")) == first
    time.sleep(max(0.0, begins - time.time()))
    assert first[0] not in ids(service.feed("visitor"))


def test_an_item_called_similar_is_an_item_and_a_list_is_answered_to_head_as_well(service: Any) -> None:
    assert service.get("/v1/items/similar").status_code == 404
    assert service.get("/v1/items//similar").status_code == 404
    head = httpx.head(service.base_url + "/v1/items/i3/similar", timeout=10)
    get = service.get("/v1/items/i3/similar")
    assert head.status_code == get.status_code == 200
    for name in ("content-type", "x-content-type-options"):
        assert head.headers[name] == get.headers[name]
    assert service.get("/v1/users/u1/feed").headers["cache-control"] == "no-store"


def test_a_worker_reads_a_users_events_once_as_long_as_it_alone_takes_more_of_them(
    two_services: tuple[Any, Any], redis_server: Any
) -> None:
    one, other = two_services

    def reads() -> int:
        with redis_server.client() as client:
            return int(client.info("commandstats").get("cmdstat_lrange", {"calls": 0})["calls"])

    one.post(view("visitor", "i10"))
    one.feed("visitor")
    before = reads()
    for item in ("i11", "i12", "i13"):
        one.post(view("visitor", item))
        assert item not in ids(one.feed("visitor"))
    assert reads() == before
    other.post(view("visitor", "i14"))
    one.post(view("visitor", "i15"))
    assert not {"i14", "i15"} & set(ids(one.feed("visitor")))
    assert reads() == before + 1


def test_workers_that_take_events_in_turn_answer_as_one_that_has_just_started(
    two_services: tuple[Any, Any], start_service: Callable[..., Any], redis_server: Any, small_bundle: Path
) -> None:
    for turn, taker in enumerate([0, 0, 1, 0, 1, 1, 1, 0]):
        two_services[taker].post(view("visitor", f"i{10 + 2 * turn}"))
        for service in two_services[turn % 2 :]:
            service.feed("visitor")
    fresh = start_service(bundle=small_bundle, redis_url=redis_server.url)
    wanted = fresh.feed("visitor")["recommendations"]
    for service in two_services:
        found = service.feed("visitor")["recommendations"]
        for slot, like in zip(found, wanted, strict=True):
            assert slot.pop("score") == pytest.approx(like["score"], rel=1e-3)
            assert slot == {name: value for name, value in like.items() if name != "score"}
