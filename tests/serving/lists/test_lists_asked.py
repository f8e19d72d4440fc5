"""Ranked lists: for whom, in which session, under which filters, and many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving.keys import Keys
from tests.serving.lists.asking import pages, shown


def test_what_is_on_the_page_and_in_the_cart_shapes_a_feed(standing_service: Any) -> None:
    for given, reason in (({"item": "i10"}, "you are looking at"), ({"cart": ["i10", "i12"]}, "is in your cart")):
        answer = standing_service.get("/v1/users/stranger/feed", k=5, **given).json()
        assert all("mug" in slot["item"]["title"] for slot in answer["recommendations"])  # i10 and i12 are mugs
        assert reason in answer["recommendations"][0]["reasons"][0]
        assert not {"i10", "i12"} & set(shown(answer)) or "item" in given
        assert "i10" not in shown(answer)
    by_category = standing_service.get("/v1/users/stranger/feed", k=5, category="Apparel > Shoe").json()
    assert all("shoe" in slot["item"]["title"] for slot in by_category["recommendations"])


def test_a_session_without_an_id_is_answered_by_what_it_viewed(standing_service: Any) -> None:
    answer = standing_service.ask("/v1/recommend", {"session": ["i11", "i10"], "k": 5})
    assert answer.status_code == 200
    assert "i10" not in shown(answer.json())
    assert "mug" in answer.json()["recommendations"][0]["item"]["title"]
    assert answer.json()["source"] == "personalized"
    nothing = standing_service.ask("/v1/recommend", {}).json()
    assert nothing["source"] == "popular"
    assert len(shown(nothing)) == 12


def test_examples_pull_and_push(standing_service: Any) -> None:
    wanted = standing_service.ask("/v1/recommend", {"like": ["i10"], "k": 5}).json()
    assert all("mug" in slot["item"]["title"] for slot in wanted["recommendations"])
    assert "items like" in wanted["recommendations"][0]["reasons"][0]
    unwanted = standing_service.ask("/v1/recommend", {"unlike": ["i10", "i12"], "k": 5}).json()
    assert all("shoe" in slot["item"]["title"] for slot in unwanted["recommendations"])
    of_user = standing_service.ask("/v1/recommend", {"user_id": "u1", "k": 12}).json()
    assert shown(of_user) == standing_service.feed_ids("u1")


def test_a_session_can_be_leafed_through(standing_service: Any) -> None:
    def ask(**query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = standing_service.ask("/v1/recommend", {"session": ["i10"], **query}).json()
        return answer

    leafed = [item for page in pages(ask, 20) for item in page]
    assert len(leafed) == len(set(leafed)) == 58  # all but the viewed one and the one that cannot be bought


def test_the_split_of_a_personal_score_is_taste_and_prior(standing_service: Any, small_bundle: Path) -> None:
    answer = standing_service.get("/v1/users/u1/feed", k=4, split=True).json()
    bundle = Bundle.open(small_bundle)
    for slot in answer["recommendations"]:
        row = bundle.items.idx(slot["item"]["item_id"])
        assert slot["split"]["taste"] == pytest.approx(
            float(bundle.user_embeddings[1] @ bundle.item_embeddings[row]), rel=1e-4
        )
        assert slot["score"] == pytest.approx(slot["split"]["taste"] + slot["split"]["prior"], rel=1e-4)


def test_a_batch_answers_each_request_as_its_own_route_does(standing_service: Any, small_bundle: Path) -> None:
    answer = standing_service.ask(
        "/v1/batch",
        {
            "requests": [
                {"similar": {"item_id": "i3", "k": 4}},
                {"similar": {"item_id": "nope"}},
                {"feed": {"user_id": "u1", "k": 3}},
                {"recommend": {"session": ["i10"], "k": 2}},
                {"feed": {"user_id": "u1", "cursor": "AAAA"}},
            ]
        },
    )
    assert answer.status_code == 200
    similar, unknown, feed, session, broken = answer.json()["answers"]
    expected = BundleRecommender(Bundle.open(small_bundle)).similar_items("i3", 4)
    assert shown(similar) == [one.item_id for one in expected]
    assert (unknown["problem"]["status"], unknown["problem"]["item_id"]) == (404, "nope")
    assert shown(feed) == standing_service.feed_ids("u1", 3)
    assert len(shown(session)) == 2
    assert broken["problem"]["status"] == 422
    assert len({one["recommendation_id"] for one in (similar, feed, session)}) == 3


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"requests": []}, "at least 1 item"),
        ({"requests": [{}]}, "it is none"),
        ({"requests": [{"feed": {"user_id": "a"}, "recommend": {}}]}, "feed and recommend"),
        ({"requests": [{"feed": {"user_id": "a", "k": "3"}}]}, "valid integer"),
        ({"requests": [{"feed": {"user_id": "a", "k": 100}}] * 21}, "2000 slots"),
        ({"requests": [{"feed": {"user_id": "a", "colour": 1}}]}, "Extra inputs"),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused_as_a_whole(
    standing_service: Any, body: dict[str, Any], rule: str
) -> None:
    answer = standing_service.ask("/v1/batch", body)
    assert answer.status_code == 422
    assert rule in answer.json()["detail"]


def test_the_scenario_of_a_list_is_logged(service: Any, redis_server: Any, eventually: Any) -> None:
    service.get("/v1/users/u1/feed", k=2, scenario="home")
    service.ask("/v1/recommend", {"session": ["i10"], "k": 2, "scenario": "cart"})
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 2)
        logged = [fields for _, fields in client.xrange(Keys().impressions)]
    told = [(fields[b"surface"], fields[b"subject"], fields[b"scenario"]) for fields in logged]
    assert told == [(b"feed", b"u1", b"home"), (b"recommend", b"", b"cart")]
    assert all(orjson.loads(fields[b"slots"])["propensities"] == [1.0, 1.0] for fields in logged)


def test_a_filter_holds_on_every_list_and_page(standing_service: Any, small_bundle: Path) -> None:
    displays = {display["item_id"]: display for display in Bundle.open(small_bundle).displays()}
    text = "price < 30 and brand in (Acme, Bolt) and not color:red"
    allowed = {
        item_id
        for item_id, display in displays.items()
        if display["price"] < 30
        and display["attributes"]["brand"][0] in ("Acme", "Bolt")
        and display["attributes"]["color"] != ["Red"]
    }
    assert len(allowed) > 5

    def similar(**query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = standing_service.get("/v1/items/i3/similar", filter=text, **query).json()
        return answer

    assert {item for page in pages(similar, 3) for item in page} == allowed
    for answer in (
        standing_service.get("/v1/users/u1/feed", filter=text),
        standing_service.get("/v1/items/i3/similar", filter=text, mode="image"),
        standing_service.ask("/v1/recommend", {"session": ["i10"], "filter": text}),
    ):
        assert shown(answer.json())
        assert set(shown(answer.json())) <= allowed
    nothing = standing_service.get("/v1/users/u1/feed", filter="price < 0").json()
    assert (nothing["recommendations"], nothing["next_cursor"]) == ([], None)
    why = standing_service.get("/v1/items/i3/debug", user_id="u2", filter="price < 0").json()["why"]
    assert "not allowed" in why["hidden_by"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("price <", "character"), ("price < cheap", "character"), ("smell:nice", "smell"), ("color > 3", "color")],
)
def test_a_filter_that_means_nothing_is_refused_with_its_place(standing_service: Any, text: str, says: str) -> None:
    answer = standing_service.get("/v1/users/u1/feed", filter=text)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["place"] == "filter"
    assert says in answer.json()["detail"]
