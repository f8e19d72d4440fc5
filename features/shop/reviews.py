"""What buyers wrote about items and how they rated them: `reviews.*`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.quarantine import Quarantine
from features.shop import cells
from features.shop.catalog_reader import require, with_our_names
from features.shop.cells import Sieve
from features.shop.config import read_shop_config
from features.shop.shop import Shop
from features.shop.tables import find_table, read_table
from features.shop.timestamps import utc_seconds
from features.vocabulary import Vocabulary

LEAST_RATING, MOST_RATING = 1.0, 5.0


@dataclass(frozen=True, eq=False)
class Reviews:
    """One row a review, in the order of the file.

    Args:
        items: outside ids of the items; the catalog's own vocabulary.
        item_idx: int64 [n].
        text: object [n] of str, "" where a review is a rating alone.
        rating: float64 [n] in [1, 5], NaN where a review is a text alone.
        timestamp: float64 [n], UTC seconds; None where the table has no times.
        user: object [n] of str, outside ids of who wrote it, "" where nobody knows.

    Raises:
        ValueError: lengths differ, an item is unknown, or a rating is not in [1, 5].
    """

    items: Vocabulary
    item_idx: NDArray[np.int64]
    text: NDArray[np.object_]
    rating: NDArray[np.float64]
    timestamp: NDArray[np.float64] | None
    user: NDArray[np.object_]

    def __post_init__(self) -> None:
        n = len(self.item_idx)
        for name in ("text", "rating", "timestamp", "user"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"{name} must have a row a review ({n}), it has {len(column)}")
        bad = np.flatnonzero((self.item_idx < 0) | (self.item_idx >= len(self.items)))
        if len(bad):
            raise ValueError(f"item_idx must be in [0, {len(self.items)}), review {bad[0]} has {self.item_idx[bad[0]]}")
        bad = np.flatnonzero((self.rating < LEAST_RATING) | (self.rating > MOST_RATING))
        if len(bad):
            raise ValueError(f"rating must be in [1, 5], review {bad[0]} has {self.rating[bad[0]]}")

    def __len__(self) -> int:
        return len(self.item_idx)

    def only(self, rows: NDArray[np.bool_]) -> Reviews:
        """The reviews of a mask, bool [n]."""
        return Reviews(
            self.items,
            self.item_idx[rows],
            self.text[rows],
            self.rating[rows],
            None if self.timestamp is None else self.timestamp[rows],
            self.user[rows],
        )

    def before(self, time_s: float) -> Reviews:
        """The reviews written before a time, so that an evaluation does not read what came later.

        Args:
            time_s: UTC seconds.

        Raises:
            ValueError: the reviews have no times.
        """
        if self.timestamp is None:
            raise ValueError("reviews must have a timestamp to be hidden by time; hide them by a mask of rows")
        return self.only(self.timestamp < time_s)


def read_reviews(shop: Shop, *, quarantine: Quarantine) -> Reviews | None:
    """Read a shop's `reviews.*`; None where there is none.

    Needed are item_id and one of text and rating; timestamp and user_id may be there. Refused are rows of an unknown
    item, with neither a text nor a rating, a rating that is no number in [1, 5], or a timestamp that is no time.

    Args:
        shop: the shop, which gives the ids of items.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    path = find_table(shop.path, "reviews")
    if path is None:
        return None
    config = read_shop_config(shop.path)
    frame = read_table(path, quarantine=quarantine)
    frame, _ = with_our_names(frame, "reviews", path, config)
    require(frame, "reviews", path, ("item_id", "rating" if "text" not in frame.columns else "text"))
    sieve = Sieve(path.name, frame, quarantine)
    items = shop.catalog.items
    codes, ids = cells.coded_ids(frame["item_id"])
    item_idx = np.append(items.idxs(ids), -1)[codes]
    sieve.refuse(item_idx < 0, "item_id is not in the item table", frame["item_id"])
    text = cells.texts(frame["text"]) if "text" in frame.columns else np.full(len(frame), "", dtype=object)
    rating = np.full(len(frame), np.nan)
    if "rating" in frame.columns:
        rating, bad = cells.numbers(frame["rating"])
        bad = bad | (rating < LEAST_RATING) | (rating > MOST_RATING)
        sieve.refuse(bad, "rating must be a number in [1, 5]", frame["rating"])
    sieve.refuse((text == "") & np.isnan(rating), "a review must have a text or a rating", frame["item_id"])
    timestamp = None
    if "timestamp" in frame.columns and cells.present(frame["timestamp"]).any():
        times = frame["timestamp"]
        timestamp = utc_seconds(times, timezone=config.timezone)
        sieve.refuse(np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", times)
    kept = sieve.kept
    return Reviews(
        items=items,
        item_idx=item_idx[kept],
        text=text[kept],
        rating=rating[kept],
        timestamp=None if timestamp is None else timestamp[kept],
        user=_users(frame)[kept],
    )


def _users(frame: pd.DataFrame) -> NDArray[np.object_]:
    if "user_id" not in frame.columns:
        return np.full(len(frame), "", dtype=object)
    codes, names = cells.coded_ids(frame["user_id"])
    return np.array([*names, ""], dtype=object)[codes]
