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
    return start_service(bundle=bundle.path, redis_url=redis_server.url, search_warm=True)


@pytest.fixture
def bounds(bundle: Bundle) -> tuple[float, float]:
    """What one in ten of the shop's own listings scores at most, and what three in four score at least.

    One in twenty shows another product.
    """
    low, high = np.nanquantile(bundle.match_scores, [0.1, 0.25]).tolist()
    return low, high


@pytest.fixture
def picture_of(synthetic_shop: Path, bundle: Bundle) -> Callable[[int], str]:
    """The picture file of an item of the fitted shop, as it is sent."""
    images = read_shop(synthetic_shop, quarantine=Quarantine()).images
    return lambda row: base64.b64encode(images.read(bundle.display(row)["image"])).decode()


@pytest.fixture
def pairs(bundle: Bundle, bounds: tuple[float, float]) -> list[tuple[int, int]]:
    """Five pairs of listings that the fit believes, the two of a pair of different categories."""
    believed = np.flatnonzero(np.nan_to_num(bundle.match_scores) > bounds[1]).tolist()
    found: list[tuple[int, int]] = []
    while len(found) < 5:
        one = believed.pop(0)
        other = next(row for row in believed if not set(bundle.categories_of(row)) & set(bundle.categories_of(one)))
        believed.remove(other)
        found.append((one, other))
    return found


def score_of(service: Any, item_id: str) -> float | None:
    answer = service.get(f"/v1/items/{item_id}")
    assert answer.status_code == 200, answer.text
    found: float | None = answer.json()["match_score"]
    return found


def test_listings_with_swapped_pictures_score_low_until_each_has_its_own_back(
    shop: Any,
    bundle: Bundle,
    pairs: list[tuple[int, int]],
    picture_of: Callable[[int], str],
    bounds: tuple[float, float],
) -> None:
    low, high = bounds
    partner = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    before = {row: score_of(shop, bundle.items[row]) for row in partner}
    assert before == {row: float(bundle.match_scores[row]) for row in partner}
    for row, other in partner.items():
        said = shop.say("PATCH", bundle.items[row], {"picture": picture_of(other)})
        assert said.status_code == 200, said.text
        assert said.json()["item"]["match_score"] == score_of(shop, bundle.items[row])
    swapped = {row: score_of(shop, bundle.items[row]) or 1.0 for row in partner}
    assert all(swapped[row] < (before[row] or 0.0) for row in partner)
    assert max(swapped.values()) < high
    assert np.median(list(swapped.values())) < low  # so few listings teach a model too little to be sure of each
    for row in partner:
        assert shop.say("PATCH", bundle.items[row], {"picture": picture_of(row)}).status_code == 200
    after = {row: score_of(shop, bundle.items[row]) or 0.0 for row in partner}
    assert all(after[row] > swapped[row] for row in partner)
    assert np.median(list(after.values())) > high
    item_id = bundle.items[pairs[0][0]]
    shop.say("PATCH", item_id, {"image": "nowhere.jpg"})
    assert score_of(shop, item_id) is None


def test_a_new_listing_is_scored_within_a_second_and_its_bulk_twin_alike(
    shop: Any,
    bundle: Bundle,
    pairs: list[tuple[int, int]],
    picture_of: Callable[[int], str],
    bounds: tuple[float, float],
) -> None:
    _, high = bounds
    own, other = pairs[0]
    shown = bundle.display(own)
    words = {name: shown[name] for name in ("title", "description", "price", "attributes")}
    assert shop.say("PUT", "first", {"title": "Mug", "picture": picture_of(other)}).status_code == 200  # encoders open
    began = time.monotonic()
    put = shop.say("PUT", "right", {**words, "picture": picture_of(own)})
    assert put.status_code == 200, put.text
    right = score_of(shop, "right")
    assert time.monotonic() - began < 1.0
    assert right is not None
    assert right > high
    bulk = [
        {"item_id": "twin", **words, "picture": picture_of(own)},
        {"item_id": "wrong", **words, "picture": picture_of(other)},
        {"item_id": "blind", **words},
    ]
    assert shop.ask("/v1/items", {"items": bulk}).json()["accepted"] == 3
    assert score_of(shop, "twin") == pytest.approx(right, abs=1e-4)
    wrong = score_of(shop, "wrong")
    assert wrong is not None
    assert wrong < high
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
