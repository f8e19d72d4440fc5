"""What was shown, with which probability, and whether it was clicked: the input of replay."""

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


@dataclass(frozen=True, eq=False)
class Impressions:
    """One row a slot that was shown, in the order of the log.

    Args:
        requests: ids of the requests; the slots of one request were shown together.
        users: outside ids of the users.
        items: outside ids of the items; the catalog's own vocabulary.
        request_idx: int64 [n].
        user_idx: int64 [n]; -1 where nobody knows who it was.
        item_idx: int64 [n].
        position: int64 [n], >= 0; the slot.
        propensity: float64 [n] in (0, 1]; the probability with which the policy showed this item here.
        policy: object [n] of str; which policy chose.
        clicked: bool [n].
        timestamp: float64 [n], UTC seconds; None where the log has no times.

    Raises:
        ValueError: lengths differ, a row number is out of range, or a propensity is not in (0, 1].
    """

    requests: Vocabulary
    users: Vocabulary
    items: Vocabulary
    request_idx: NDArray[np.int64]
    user_idx: NDArray[np.int64]
    item_idx: NDArray[np.int64]
    position: NDArray[np.int64]
    propensity: NDArray[np.float64]
    policy: NDArray[np.object_]
    clicked: NDArray[np.bool_]
    timestamp: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.item_idx)
        for name in ("request_idx", "user_idx", "position", "propensity", "policy", "clicked", "timestamp"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"{name} must have a row an impression ({n}), it has {len(column)}")
        limits = (
            ("request_idx", self.request_idx, 0, len(self.requests)),
            ("user_idx", self.user_idx, -1, len(self.users)),
            ("item_idx", self.item_idx, 0, len(self.items)),
            ("position", self.position, 0, np.iinfo(np.int64).max),
        )
        for name, rows, low, high in limits:
            bad = np.flatnonzero((rows < low) | (rows >= high))
            if len(bad):
                raise ValueError(f"{name} must be in [{low}, {high}), impression {bad[0]} has {rows[bad[0]]}")
        bad = np.flatnonzero(~((self.propensity > 0) & (self.propensity <= 1)))
        if len(bad):
            raise ValueError(f"propensity must be in (0, 1], impression {bad[0]} has {self.propensity[bad[0]]}")

    def __len__(self) -> int:
        return len(self.item_idx)


def read_impressions(shop: Shop, *, quarantine: Quarantine) -> Impressions | None:
    """Read a shop's `impressions.*`; None where there is none.

    Needed are item_id, position, propensity and clicked. Without request_id each row is a request of its own, without
    user_id nobody is known, without policy all rows are of the policy "logged". Refused are rows of an unknown item,
    with a position that is no whole number >= 0, a propensity outside (0, 1], a clicked that is neither 0 nor 1, a
    missing request, or a timestamp that is no time.

    Args:
        shop: the shop, which gives the ids of users and items; an unknown user counts as nobody.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    path = find_table(shop.path, "impressions")
    if path is None:
        return None
    config = read_shop_config(shop.path)
    frame = read_table(path, quarantine=quarantine)
    frame, _ = with_our_names(frame, "impressions", path, config)
    require(frame, "impressions", path, ("item_id", "position", "propensity", "clicked"))
    sieve = Sieve(path.name, frame, quarantine)
    items, users = shop.catalog.items, shop.interactions.users
    item_idx = _rows(frame["item_id"], items)
    sieve.refuse(item_idx < 0, "item_id is not in the item table", frame["item_id"])
    position, _ = cells.numbers(frame["position"])
    sieve.refuse(
        ~((position >= 0) & (position == np.rint(position))), "position must be a whole number >= 0", frame["position"]
    )
    propensity, _ = cells.numbers(frame["propensity"])
    sieve.refuse(~((propensity > 0) & (propensity <= 1)), "propensity must be in (0, 1]", frame["propensity"])
    clicked = pd.Series(cells.texts(frame["clicked"])).str.lower()
    yes, no = clicked.isin(["1", "1.0", "true"]).to_numpy(), clicked.isin(["0", "0.0", "false"]).to_numpy()
    sieve.refuse(~(yes | no), "clicked must be 0 or 1", frame["clicked"])
    timestamp = None
    if "timestamp" in frame.columns:
        times = frame["timestamp"]
        timestamp = utc_seconds(times, timezone=config.timezone)
        sieve.refuse(np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", times)
    if "request_id" in frame.columns:
        codes, names = cells.coded_ids(frame["request_id"])
        sieve.refuse(codes < 0, "request_id is missing", frame["request_id"])
    else:
        codes, names = np.arange(len(frame), dtype=np.int64), [str(row) for row in range(len(frame))]
    kept = sieve.kept
    used = np.unique(codes[kept])
    return Impressions(
        requests=Vocabulary(tuple(names[code] for code in used.tolist())),
        users=users,
        items=items,
        request_idx=np.searchsorted(used, codes[kept]).astype(np.int64),
        user_idx=_rows(frame["user_id"], users)[kept] if "user_id" in frame.columns else np.full(kept.sum(), -1),
        item_idx=item_idx[kept],
        position=position[kept].astype(np.int64),
        propensity=propensity[kept],
        policy=_policies(frame)[kept],
        clicked=yes[kept],
        timestamp=None if timestamp is None else timestamp[kept],
    )


def _rows(column: pd.Series, vocabulary: Vocabulary) -> NDArray[np.int64]:
    codes, ids = cells.coded_ids(column)
    return np.append(vocabulary.idxs(ids), -1)[codes]


def _policies(frame: pd.DataFrame) -> NDArray[np.object_]:
    if "policy" not in frame.columns:
        return np.full(len(frame), "logged", dtype=object)
    codes, names = cells.coded_ids(frame["policy"])
    return np.array([*names, "logged"], dtype=object)[codes]
