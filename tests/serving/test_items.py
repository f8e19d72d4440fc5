from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender


def test_an_item_is_shown_with_everything_known_of_it(standing_service: Any, small_bundle: Path) -> None:
    answer = standing_service.get("/v1/items/i3")
    assert answer.status_code == 200
    item = answer.json()
    match_score = float(Bundle.open(small_bundle).match_scores[3])
    assert item.pop("match_score") == pytest.approx(match_score, abs=1e-6)
    assert item == {
        "item_id": "i3",
        "title": "Red shoe 3",
        "description": "A shoe by Dune.",
        "price": 8.0,
        "available": True,
        "image_url": "/v1/images/i3",
        "attributes": {"category": ["Apparel", "Apparel > Shoe"], "brand": ["Dune"], "color": ["Red"]},
    }


def test_what_is_unknown_is_null_not_zero(standing_service: Any) -> None:
    item = standing_service.get("/v1/items/i59").json()
    assert item["image_url"] is None
    assert item["match_score"] is None


def test_an_unknown_item_is_a_problem_404_on_its_own_page_and_on_its_similar_items(standing_service: Any) -> None:
    for path in ("/v1/items/nope", "/v1/items/nope/similar"):
        answer = standing_service.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:recsys:problem:unknown-item",
            "title": "Unknown item",
            "status": 404,
            "detail": "no item 'nope' in the catalog",
            "item_id": "nope",
        }


def test_an_id_may_hold_slashes_spaces_and_line_ends(standing_service: Any) -> None:
    for item_id in ("a/b", "a b", "a\nb", "50%", "ä", "/"):
        answer = standing_service.get(f"/v1/items/{quote(item_id, safe='')}")
        assert answer.status_code == 404
        assert answer.json()["item_id"] == item_id


def test_similar_items_are_those_of_the_bundle_s_recommender_and_come_from_redis(
    standing_service: Any, small_bundle: Path
) -> None:
    answer = standing_service.get("/v1/items/i3/similar", k=5).json()
    expected = BundleRecommender(Bundle.open(small_bundle)).similar_items("i3", 5)
    slots = answer["recommendations"]
    assert [slot["item"]["item_id"] for slot in slots] == [one.item_id for one in expected]
    assert [slot["score"] for slot in slots] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert [slot["source"] for slot in slots] == [one.source for one in expected]
    assert [tuple(slot["reasons"]) for slot in slots] == [one.reasons for one in expected]
    assert {slot["propensity"] for slot in slots} == {1.0}
    assert answer["store"] == "redis"
    assert answer["source"] == slots[0]["source"]
    assert answer["model_version"] == Bundle.open(small_bundle).version
    assert len(answer["recommendation_id"]) == 32


def test_each_answer_has_an_id_of_its_own(standing_service: Any) -> None:
    ids = {standing_service.get("/v1/items/i3/similar").json()["recommendation_id"] for _ in range(3)}
    assert len(ids) == 3


def test_k_is_kept_to_and_bounded(standing_service: Any) -> None:
    assert len(standing_service.get("/v1/items/i3/similar").json()["recommendations"]) == 12
    assert len(standing_service.get("/v1/items/i3/similar", k=1).json()["recommendations"]) == 1
    most = standing_service.get("/v1/items/i3/similar", k=100).json()["recommendations"]
    assert len(most) == 58  # all but the item itself and the one that cannot be bought
    for k in ("0", "101", "-1", "1.5", "many", "", "٣"):
        for path in ("/v1/items/i3/similar", "/v1/users/u1/feed", "/v1/items"):
            answer = standing_service.get(path, k=k)
            assert answer.status_code == 422, (path, k)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["errors"][0]["place"] == "query.k"


def test_an_unknown_query_parameter_is_refused_by_name(standing_service: Any) -> None:
    for path in ("/v1/items", "/v1/items/i3", "/v1/items/i3/similar", "/v1/users/u1", "/v1/users/u1/feed", "/health"):
        answer = standing_service.get(path, limit=3)
        assert answer.status_code == 422, path
        assert "query.limit" in answer.json()["detail"]


def test_the_grid_shows_everything_once_most_popular_first(standing_service: Any, small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = standing_service.get("/v1/items", k=25, offset=offset).json()
        assert page["total"] == 60
        seen += [item["item_id"] for item in page["items"]]
        offset = page["next_offset"]
    assert sorted(seen) == sorted(bundle.items.ids)
    popularity = [float(bundle.popularity[bundle.items.idx(item_id)]) for item_id in seen]
    assert popularity == sorted(popularity, reverse=True)


def test_the_grid_narrows_to_a_category_and_to_words_of_the_title(standing_service: Any) -> None:
    shoes = standing_service.get("/v1/items", k=100, category="Apparel > Shoe").json()
    assert shoes["total"] == 30
    assert all("shoe" in item["title"] for item in shoes["items"])
    red_shoes = standing_service.get("/v1/items", k=100, category="Apparel > Shoe", q="RED sh").json()
    assert red_shoes["total"] == 10
    assert all(item["title"].startswith("Red shoe") for item in red_shoes["items"])
    assert standing_service.get("/v1/items", category="Nothing").json() == {
        "items": [],
        "total": 0,
        "next_offset": None,
    }
    assert standing_service.get("/v1/items", offset=60).json() == {"items": [], "total": 60, "next_offset": None}


def test_a_method_that_is_not_there_is_a_problem_405(standing_service: Any) -> None:
    for method, path in (("DELETE", "/v1/users/u1/feed"), ("POST", "/v1/items/i3/similar"), ("PUT", "/v1/events")):
        answer = httpx.request(method, standing_service.base_url + path)
        assert answer.status_code == 405, (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert method not in answer.headers["allow"]
    assert httpx.options(standing_service.base_url + "/v1/users/u1").headers["allow"] == "DELETE, GET, PATCH, PUT"
