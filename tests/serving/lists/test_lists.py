"""Ranked lists: how they should be alike, what is left out, and where they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from tests.serving.lists.asking import pages, shown


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
