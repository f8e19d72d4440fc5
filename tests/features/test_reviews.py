from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.encoders.config import EncoderConfig, ReviewConfig
from features.encoders.reviews import choose, encode_reviews
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.review_statistics import STATISTICS, statistics
from features.shop.reviews import Reviews, read_reviews
from features.shop.shop import Shop, read_shop

Rows = list[dict[str, Any]]
DAY = 86_400
T0 = 1_700_000_000
REVIEWS: Rows = [
    {"item_id": "a", "text": "warm and soft", "rating": 5, "timestamp": T0, "user_id": "u"},
    {"item_id": "a", "text": "too small for me", "rating": 2, "timestamp": T0 + 2 * DAY, "user_id": "v"},
    {"item_id": "a", "text": None, "rating": 5, "timestamp": T0 + DAY, "user_id": None},
    {"item_id": "b", "text": "broke after a week", "rating": None, "timestamp": T0 + DAY, "user_id": "u"},
]
CONFIG = EncoderConfig(engine="torch")


def shop_of(folder: Path, reviews: Rows | None) -> Shop:
    items = [{"item_id": name, "title": name.upper()} for name in "abc"]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    if reviews is not None:
        (folder / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews))
    return read_shop(folder, quarantine=Quarantine())


def reviews_of(folder: Path, rows: Rows = REVIEWS) -> Reviews:
    found = read_reviews(shop_of(folder, rows), quarantine=Quarantine())
    assert found is not None
    return found


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_reviews_are_read_with_what_they_have(tmp_path: Path) -> None:
    reviews = reviews_of(tmp_path)
    assert reviews.item_idx.tolist() == [0, 0, 0, 1]
    assert reviews.text.tolist() == ["warm and soft", "too small for me", "", "broke after a week"]
    np.testing.assert_array_equal(reviews.rating, [5, 2, 5, math.nan])
    assert reviews.user.tolist() == ["u", "v", "", "u"]
    assert reviews.timestamp is not None
    assert reviews.timestamp.tolist() == [T0, T0 + 2 * DAY, T0 + DAY, T0 + DAY]


def test_rows_that_say_nothing_or_the_impossible_are_refused(tmp_path: Path) -> None:
    good = {"item_id": "a", "text": "fine", "rating": 4, "timestamp": T0}
    bad = [
        ({"item_id": "nobody"}, "item_id is not in the item table"),
        ({"rating": 6}, "rating must be a number in [1, 5]"),
        ({"rating": "good"}, "rating must be a number in [1, 5]"),
        ({"text": " ", "rating": None}, "a review must have a text or a rating"),
        ({"timestamp": None}, "timestamp must be a time from 1990 to 2099, in one unit for all rows"),
    ]
    quarantine = Quarantine()
    shop = shop_of(tmp_path, [good, *({**good, **change} for change, _ in bad)])
    found = read_reviews(shop, quarantine=quarantine)
    assert found is not None
    assert len(found) == 1
    assert {(one.row, one.rule) for one in quarantine.refusals} == {(row, rule) for row, (_, rule) in enumerate(bad, 1)}


def test_a_table_without_text_and_rating_says_what_it_lacks(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, [{"item_id": "a", "stars": 4}])
    with pytest.raises(InputError, match=r"must have a column .rating.*\[columns.reviews\]"):
        read_reviews(shop, quarantine=Quarantine())
    (tmp_path / "shop.toml").write_text('[columns.reviews]\nrating = "stars"\n')
    found = read_reviews(shop, quarantine=Quarantine())
    assert found is not None
    assert (found.rating.tolist(), found.text.tolist(), found.timestamp) == ([4], [""], None)


def test_statistics_are_those_counted_by_hand_and_nothing_where_nothing_is(tmp_path: Path) -> None:
    of_a, of_b, of_c = statistics(reviews_of(tmp_path))
    assert STATISTICS == ("reviews", "ratings", "mean_rating", "rating_spread", "one_star_share", "five_star_share")
    np.testing.assert_allclose(of_a, [3, 3, 4, math.sqrt(3), 0, 2 / 3], rtol=1e-6)
    np.testing.assert_array_equal(of_b, np.array([1, 0, *[math.nan] * 4], dtype=np.float32))
    np.testing.assert_array_equal(of_c, np.array([0, 0, *[math.nan] * 4], dtype=np.float32))


def test_one_rating_has_a_mean_and_no_spread(tmp_path: Path) -> None:
    row = statistics(reviews_of(tmp_path, [{"item_id": "c", "rating": 1}]))[2]
    np.testing.assert_array_equal(row, np.array([1, 1, 1, math.nan, 1, 0], dtype=np.float32))


@pytest.mark.parametrize(
    ("first", "timed", "expected"),
    [
        ("newest", True, ["second", "third, and by far the longest"]),
        ("newest", False, ["first of all", "second"]),
        ("longest", True, ["third, and by far the longest", "first of all"]),
    ],
)
def test_the_newest_or_the_longest_reviews_stand_for_an_item(
    tmp_path: Path, first: Any, timed: bool, expected: list[str]
) -> None:
    rows: Rows = [
        {"item_id": "b", "text": "third, and by far the longest", "timestamp": T0 + DAY},
        {"item_id": "b", "text": "second", "timestamp": T0 + 2 * DAY},
        {"item_id": "b", "text": "first of all", "timestamp": T0},
    ]
    if not timed:
        rows = [{name: value for name, value in row.items() if name != "timestamp"} for row in rows]
    chosen = choose(reviews_of(tmp_path, rows), ReviewConfig(most=2, first=first))
    assert chosen == [[], expected, []]


def test_an_item_has_the_mean_of_its_encoded_reviews(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, REVIEWS)
    vectors = encode_reviews(shop, CONFIG, cache_dir=tmp_path / "cache", quarantine=Quarantine())
    alone = unit(TextEncoder.of(CONFIG).encode(["warm and soft", "too small for me", "broke after a week"]))
    np.testing.assert_allclose(vectors.text.vectors[0], unit(alone[:2].mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(vectors.text.vectors[1], alone[2], atol=1e-5)
    assert vectors.text.mask.tolist() == [True, True, False]
    assert vectors.stats.shape == (3, len(vectors.names))


def test_what_is_hidden_leaves_no_trace(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, REVIEWS)
    early = encode_reviews(shop, CONFIG, cache_dir=tmp_path, quarantine=Quarantine(), before_s=T0 + DAY)
    masked = encode_reviews(
        shop, CONFIG, cache_dir=tmp_path, quarantine=Quarantine(), visible=np.array([True, False, False, False])
    )
    (tmp_path / "only").mkdir()
    lone = encode_reviews(shop_of(tmp_path / "only", REVIEWS[:1]), CONFIG, cache_dir=tmp_path, quarantine=Quarantine())
    for hidden in (early, masked):
        np.testing.assert_array_equal(hidden.text.vectors, lone.text.vectors)
        np.testing.assert_array_equal(hidden.stats, lone.stats)


def test_reviews_without_times_cannot_be_hidden_by_time(tmp_path: Path) -> None:
    reviews = reviews_of(tmp_path, [{"item_id": "a", "rating": 3}])
    with pytest.raises(ValueError, match="must have a timestamp"):
        reviews.before(T0)


def test_a_shop_without_reviews_has_none(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, None)
    assert read_reviews(shop, quarantine=Quarantine()) is None
    vectors = encode_reviews(shop, CONFIG, cache_dir=tmp_path / "cache", quarantine=Quarantine())
    assert not vectors.text.mask.any()
    assert vectors.stats[:, 0].tolist() == [0, 0, 0]
    assert np.isnan(vectors.stats[:, 2:]).all()
