"""Listings that come or change while the service runs: the right picture scores high, another product's low."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.bundle import Bundle
from recsys.fit import FitSummary


@pytest.fixture
def bundle(fitted: FitSummary) -> Bundle:
    return Bundle.open(fitted.folder.bundle)


@pytest.fixture
def shop(start_service: Callable[..., Any], redis_server: Any, publisher: Any, bundle: Bundle) -> Any:
    publisher.publish(bundle)
    return start_service(bundle=bundle.path, redis_url=redis_server.url)


@pytest.fixture
def picture_of(synthetic_shop: Path, bundle: Bundle) -> Callable[[int], str]:
    """The picture file of an item of the fitted shop, as it is sent."""
    images = read_shop(synthetic_shop, quarantine=Quarantine()).images
    return lambda row: base64.b64encode(images.read(bundle.display(row)["image"])).decode()


@pytest.fixture
def pair(bundle: Bundle) -> tuple[int, int]:
    """Of the listings that the fit believes most, the two that would least believe each other's picture."""
    assert bundle.match is not None
    rows = np.argsort(-np.nan_to_num(bundle.match_scores), kind="stable")[:30]
    swapped = np.stack(
        [
            bundle.match.score(np.repeat(bundle.text_vectors[[row]], len(rows), axis=0), bundle.image_vectors[rows])
            for row in rows
        ]
    )
    worst = int(np.maximum(swapped, swapped.T).argmin())
    return int(rows[worst // len(rows)]), int(rows[worst % len(rows)])


def score_of(service: Any, item_id: str) -> float | None:
    answer = service.get(f"/v1/items/{item_id}")
    assert answer.status_code == 200, answer.text
    found: float | None = answer.json()["match_score"]
    return found


def test_two_listings_with_swapped_pictures_score_low_until_each_has_its_own_back(
    shop: Any, bundle: Bundle, pair: tuple[int, int], picture_of: Callable[[int], str]
) -> None:
    ids = [bundle.items[row] for row in pair]
    before = [score_of(shop, item_id) for item_id in ids]
    assert before == [float(bundle.match_scores[row]) for row in pair]
    assert min(score for score in before if score is not None) > 0.9
    for item_id, other in zip(ids, reversed(pair), strict=True):
        said = shop.say("PATCH", item_id, {"picture": picture_of(other)})
        assert said.status_code == 200, said.text
        assert said.json()["item"]["match_score"] == score_of(shop, item_id)
    assert max(score_of(shop, item_id) or 1.0 for item_id in ids) < 0.5
    for item_id, own in zip(ids, pair, strict=True):
        assert shop.say("PATCH", item_id, {"picture": picture_of(own)}).status_code == 200
    after = [score_of(shop, item_id) for item_id in ids]
    assert min(score or 0.0 for score in after) > 0.9
    shop.say("PATCH", ids[0], {"image": "nowhere.jpg"})
    assert score_of(shop, ids[0]) is None


def test_a_new_listing_is_scored_within_a_second_and_its_bulk_twin_alike(
    shop: Any, bundle: Bundle, pair: tuple[int, int], picture_of: Callable[[int], str]
) -> None:
    own, other = pair
    shown = bundle.display(own)
    words = {name: shown[name] for name in ("title", "description", "price", "attributes")}
    began = time.monotonic()
    put = shop.say("PUT", "right", {**words, "picture": picture_of(own)})
    assert put.status_code == 200, put.text
    right = score_of(shop, "right")
    assert time.monotonic() - began < 1.0
    assert right is not None
    assert right > 0.9
    bulk = [
        {"item_id": "twin", **words, "picture": picture_of(own)},
        {"item_id": "wrong", **words, "picture": picture_of(other)},
        {"item_id": "blind", **words},
    ]
    assert shop.ask("/v1/items", {"items": bulk}).json()["accepted"] == 3
    assert score_of(shop, "twin") == pytest.approx(right, abs=1e-4)
    wrong = score_of(shop, "wrong")
    assert wrong is not None
    assert wrong < 0.5
    assert score_of(shop, "blind") is None


def test_a_bundle_of_before_still_opens_and_knows_no_score_of_a_new_picture(
    start_service: Callable[..., Any], redis_server: Any, publisher: Any, small_bundle: Path
) -> None:
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(bundle=small_bundle, redis_url=redis_server.url)
    assert score_of(service, "i0") is not None
    assert service.say("PATCH", "i0", {"price": 1.0}).json()["item"]["match_score"] == score_of(service, "i0")
    assert service.say("PATCH", "i0", {"image": "other.jpg"}).status_code == 200
    assert score_of(service, "i0") is None
