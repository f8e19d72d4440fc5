"""Ranked lists: how they should be alike, what is left out, where they go on, for whom, and many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving.keys import Keys


def shown(answer: dict[str, Any]) -> list[str]:
    return [slot["item"]["item_id"] for slot in answer["recommendations"]]


def pages(ask: Any, k: int, most: int = 100) -> list[list[str]]:
    """Leaf through a list to its end."""
    found: list[list[str]] = []
    cursor: dict[str, str] = {}
    for _ in range(most):
        answer = ask(k=k, **cursor)
        found.append(shown(answer))
        if answer["next_cursor"] is None:
            return found
        cursor = {"cursor": answer["next_cursor"]}
    raise AssertionError("the list does not end")


@pytest.fixture
def similar(standing_service: Any) -> Any:
    def ask(item_id: str = "i3", **query: Any) -> dict[str, Any]:
        answer = standing_service.get(f"/v1/items/{item_id}/similar", **query)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed

    return ask


# --- how alike --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["image", "text", "behavior"])
def test_one_way_of_being_alike_ranks_by_its_cosine(similar: Any, small_bundle: Path, mode: str) -> None:
    bundle = Bundle.open(small_bundle)
    vectors = {"image": bundle.image_vectors, "text": bundle.text_vectors, "behavior": bundle.item_embeddings}[mode]
    length = np.linalg.norm(vectors, axis=1)
    cosine = (vectors @ vectors[3]) / np.where(length > 0, length, 1) / length[3]
    best = [f"i{row}" for row in np.argsort(-cosine) if row not in (3, 57)][:6]
    answer = similar(mode=mode, k=6, split=True)
    assert shown(answer) == best
    assert {slot["source"] for slot in answer["recommendations"]} == {mode}
    for slot in answer["recommendations"]:
        assert slot["score"] == pytest.approx(slot["split"][mode], abs=1e-6)
        assert slot["score"] == pytest.approx(float(cosine[int(slot["item"]["item_id"][1:])]), abs=1e-5)


def test_weights_mix_the_ways_and_the_split_adds_up_to_the_score(similar: Any) -> None:
    weights = {"image": 2.0, "text": 1.0, "behavior": 1.0, "complement": 0.5}
    answer = similar(k=8, split=True, **{f"weight_{part}": weight for part, weight in weights.items()})
    for slot in answer["recommendations"]:
        mixed = sum(weight * (slot["split"][part] or 0) for part, weight in weights.items()) / sum(weights.values())
        assert slot["score"] == pytest.approx(mixed, abs=1e-5)
    assert shown(answer) != shown(similar(k=8, weight_complement=1))
    assert "split" not in similar(k=8)["recommendations"][0]


def test_what_an_item_lacks_the_ladder_fills_and_says_so(similar: Any) -> None:
    answer = similar("i59", mode="image", k=3)  # it has neither picture nor words
    assert len(shown(answer)) == 3
    assert "image" not in {slot["source"] for slot in answer["recommendations"]}


def test_a_user_s_taste_orders_similar_items(similar: Any) -> None:
    plain = shown(similar("i3", k=20))
    for_even = similar("i3", k=20, user_id="u2", user_weight=1)
    assert shown(for_even) != plain
    assert shown(similar("i3", k=20, user_id="nobody", user_weight=1)) == plain
    assert shown(similar("i3", k=20, user_id="u2", user_weight=0)) == plain


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"mode": "smell"}, "query.mode"),
        ({"weight_image": -1}, "query.weight_image"),
        ({"weight_image": "nan"}, "query.weight_image"),
        ({"weight_image": 0}, "query"),
        ({"mode": "image", "weight_text": 1}, "query"),
        ({"user_weight": 2}, "query.user_weight"),
        ({"exclude": ""}, "query.exclude.0"),
        ({"scenario": "a b"}, "query.scenario"),
        ({"cursor": "nonsense!"}, "query.cursor"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"colour": "red"}, "query.colour"),
        ({"k": ["1", "2"]}, "query.k"),
    ],
)
def test_what_means_nothing_is_refused_by_name(standing_service: Any, query: dict[str, Any], place: str) -> None:
    answer = standing_service.get("/v1/items/i3/similar", **query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["place"] == place


def test_excluded_items_are_not_shown_and_unknown_ones_ignored(similar: Any, standing_service: Any) -> None:
    first = shown(similar(k=4))
    rest = similar(k=4, exclude=[*first[:2], "no such"])
    assert shown(rest)[:2] == first[2:]
    feed = standing_service.feed_ids("u1", 4)
    answer = standing_service.get("/v1/users/u1/feed", k=4, exclude=feed[:3]).json()
    assert shown(answer)[0] == feed[3]


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"mode": "text"}, {"user_id": "u2"}, {"exclude": ["i1", "i5"]}])
def test_pages_of_similar_items_follow_the_order_of_one_long_list_without_repeats(
    similar: Any, query: dict[str, Any]
) -> None:
    leafed = [item for page in pages(lambda **more: similar(**query, **more), 7) for item in page]
    assert len(leafed) == len(set(leafed)) == 58 - len(query.get("exclude", []))
    if "user_id" not in query:  # taste is weighed within the pool of a page
        assert leafed == shown(similar(k=100, **query))


def test_pages_of_a_feed_end_where_nothing_new_is_left(standing_service: Any, small_bundle: Path) -> None:
    def ask(**query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = standing_service.get("/v1/users/u1/feed", **query).json()
        return answer

    leafed = [item for page in pages(ask, 9) for item in page]
    bundle = Bundle.open(small_bundle)
    seen = {f"i{row}" for row in bundle.seen(bundle.users.idx("u1"))}
    assert len(leafed) == len(set(leafed))
    assert set(leafed) == set(bundle.items.ids) - seen - {"i57"}
    assert leafed == standing_service.feed_ids("u1", 100)


def test_a_cursor_outlives_a_publish_and_the_events_in_between(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    first = service.feed("u1", 10)
    service.post({"user_id": "u1", "item_id": "i10", "event_type": "view"})
    publisher.publish(Bundle.open(changed_bundle))
    eventually(lambda: service.feed("u1", 1)["model_version"] != first["model_version"])
    second = service.get("/v1/users/u1/feed", k=10, cursor=first["next_cursor"])
    assert second.status_code == 200
    assert len(shown(second.json())) == 10
    assert not set(shown(first)) & set(shown(second.json()))
    assert "i10" not in shown(second.json())


def test_a_cursor_belongs_to_its_question(similar: Any, standing_service: Any) -> None:
    cursor = similar("i3", k=3)["next_cursor"]
    for path, query in (
        ("/v1/items/i5/similar", {}),
        ("/v1/items/i3/similar", {"mode": "text"}),
        ("/v1/items/i3/similar", {"scenario": "cart"}),
        ("/v1/users/i3/feed", {}),
    ):
        answer = standing_service.get(path, cursor=cursor, **query)
        assert answer.status_code == 422, path
        assert "same question" in answer.json()["detail"]
    assert len(shown(similar("i3", k=9, cursor=cursor))) == 9  # as many as one likes


# --- for whom ---------------------------------------------------------------------------------------------------------


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


# --- filters ----------------------------------------------------------------------------------------------------------


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
