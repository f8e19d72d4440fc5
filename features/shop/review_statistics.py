"""How buyers rated each item, as a few numbers; numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.shop.reviews import MOST_RATING, Reviews

STATISTICS = ("reviews", "ratings", "mean_rating", "rating_spread", "one_star_share", "five_star_share")
"""What is counted of an item's reviews: how many reviews, how many of them with a rating; of the ratings the mean, the
standard deviation (over n - 1), and the shares that are 1 and 5."""


def statistics(reviews: Reviews) -> NDArray[np.float32]:
    """The columns `STATISTICS` of each item, float32 [n_items, 6]."""
    n_items = len(reviews.items)
    rated = np.isfinite(reviews.rating)
    item, rating = reviews.item_idx[rated], reviews.rating[rated]

    def per_item(weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        return np.bincount(item, weights=weight, minlength=n_items).astype(np.float64)

    n = per_item()
    some, several = np.where(n > 0, n, np.nan), np.where(n > 1, n, np.nan)
    mean = per_item(rating) / some
    spread = np.sqrt(per_item((rating - mean[item]) ** 2) / (several - 1))
    shares = [per_item((rating == stars).astype(np.float64)) / some for stars in (1.0, MOST_RATING)]
    all_reviews = np.bincount(reviews.item_idx, minlength=n_items).astype(np.float64)
    return np.stack([all_reviews, n, mean, spread, *shares], axis=1).astype(np.float32)


def mean_ratings(reviews: Reviews) -> NDArray[np.float64]:
    """Mean rating of each item, float64 [n_items]; NaN where nobody rated it."""
    return statistics(reviews)[:, STATISTICS.index("mean_rating")].astype(np.float64)
