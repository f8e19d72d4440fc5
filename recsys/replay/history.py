"""What was known of users and stock at a moment of the past, and nothing that came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.tables import read_table
from features.shop.timestamps import utc_seconds
from features.vocabulary import Vocabulary

PURCHASES = ("purchase", "buy", "order")
"""Types of events that mean buying, as the service takes them unless told otherwise."""
_TIME = "timestamp must be a time from 1990 to 2099, in one unit for all rows"


@dataclass(frozen=True, eq=False)
class UserHistory:
    """What users did, by user and in order of time.

    Args:
        users: ids.
        first: int64 [n_users + 1]; the events of user u are rows first[u] to first[u + 1].
        item_id: object [n] of str.
        timestamp: float64 [n] UTC s, rising within a user.
        buys: bool [n]; whether the event means buying.
    """

    users: Vocabulary
    first: NDArray[np.int64]
    item_id: NDArray[np.object_]
    timestamp: NDArray[np.float64]
    buys: NDArray[np.bool_]

    def before(self, user_id: str | None, moment: float) -> slice:
        """Rows of a user's events before a moment, oldest first; empty for somebody unknown."""
        if user_id is None or user_id not in self.users:
            return slice(0, 0)
        user = self.users.idx(user_id)
        start, stop = int(self.first[user]), int(self.first[user + 1])
        return slice(start, start + int(np.searchsorted(self.timestamp[start:stop], moment, side="left")))


def read_history(path: Path, *, quarantine: Quarantine) -> UserHistory:
    """Read events: user_id, item_id, timestamp, and event_type where something was bought.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    frame = read_table(path, quarantine=quarantine)
    for name in ("user_id", "item_id", "timestamp"):
        if name not in frame.columns:
            raise InputError(f"{path.name} must have a column {name}; it has {', '.join(map(str, frame.columns))}")
    sieve = Sieve(path.name, frame, quarantine)
    timestamp = utc_seconds(frame["timestamp"], timezone="UTC")
    sieve.refuse(np.isnan(timestamp), _TIME, frame["timestamp"])
    user, users = cells.coded_ids(frame["user_id"])
    item = cells.texts(frame["item_id"])
    buys = np.isin(cells.texts(frame["event_type"]), PURCHASES) if "event_type" in frame else np.zeros(len(frame), bool)
    kept = sieve.kept & (user >= 0) & (item != "")
    order = np.lexsort((timestamp[kept], user[kept]))
    counts = np.bincount(user[kept], minlength=len(users))
    return UserHistory(
        Vocabulary(tuple(users)),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item[kept][order],
        timestamp[kept][order],
        buys[kept][order],
    )


class StockHistory:
    """Which items could be bought when.

    Args:
        items: of the bundle.
        at_first: bool [n_items]; before the first change.
        item_idx: int64 [n]; item of each change, in order of time.
        available: bool [n]; from then on.
        timestamp: float64 [n] UTC s, rising.
    """

    def __init__(
        self,
        items: Vocabulary,
        at_first: NDArray[np.bool_],
        *,
        item_idx: NDArray[np.int64],
        available: NDArray[np.bool_],
        timestamp: NDArray[np.float64],
    ) -> None:
        self.items = items
        self._state = at_first.copy()
        self._changes = (item_idx, available, timestamp)
        self._done = 0
        self._moment = -np.inf

    def at(self, moment: float) -> NDArray[np.bool_]:
        """What could be bought at a moment, bool [n_items]; moments are asked for in rising order.

        Raises:
            ValueError: the moment lies before the last one asked for.
        """
        if moment < self._moment:
            raise ValueError(f"moments must rise, {moment} comes after {self._moment}")
        self._moment = moment
        item_idx, available, timestamp = self._changes
        until = int(np.searchsorted(timestamp, moment, side="right"))
        for change in range(self._done, until):
            self._state[item_idx[change]] = available[change]
        self._done = until
        return self._state.copy()


def read_stock(path: Path, items: Vocabulary, available: NDArray[np.bool_], *, quarantine: Quarantine) -> StockHistory:
    """Read changes of stock: item_id, timestamp, available (0 or 1), from then on.

    An item whose first change makes it available was not before; one without a change is as the bundle says.

    Args:
        path: the table.
        items: of the bundle; other items are refused.
        available: bool [n_items]; as the bundle says.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    frame = read_table(path, quarantine=quarantine)
    for name in ("item_id", "timestamp", "available"):
        if name not in frame.columns:
            raise InputError(f"{path.name} must have a column {name}; it has {', '.join(map(str, frame.columns))}")
    sieve = Sieve(path.name, frame, quarantine)
    timestamp = utc_seconds(frame["timestamp"], timezone="UTC")
    sieve.refuse(np.isnan(timestamp), _TIME, frame["timestamp"])
    codes, ids = cells.coded_ids(frame["item_id"])
    item_idx = np.append(items.idxs(ids), -1)[codes]
    sieve.refuse(item_idx < 0, "item_id is not in the bundle", frame["item_id"])
    said, _ = cells.numbers(frame["available"])
    sieve.refuse(~np.isin(said, (0, 1)), "available must be 0 or 1", frame["available"])
    order = np.flatnonzero(sieve.kept)[np.argsort(timestamp[sieve.kept], kind="stable")]
    item_idx, becomes = item_idx[order], said[order] == 1
    at_first = available.copy()
    changed, first_change = np.unique(item_idx, return_index=True)
    at_first[changed] = ~becomes[first_change]
    return StockHistory(items, at_first, item_idx=item_idx, available=becomes, timestamp=timestamp[order])
