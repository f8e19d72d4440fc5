"""What was known of users at a moment of the past, and nothing that came later."""

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


def read_segments(path: Path, *, quarantine: Quarantine) -> dict[str, frozenset[str]]:
    """What a shop says of its users, as rules name it ("name:value"): user_id, and columns of attributes.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    frame = read_table(path, quarantine=quarantine)
    if "user_id" not in frame.columns:
        raise InputError(f"{path.name} must have a column user_id; it has {', '.join(map(str, frame.columns))}")
    codes, users = cells.coded_ids(frame["user_id"])
    found: dict[str, frozenset[str]] = {}
    columns = {str(name): cells.texts(frame[name]).tolist() for name in frame.columns if name != "user_id"}
    for row, code in enumerate(codes.tolist()):
        if code >= 0:
            found[users[code]] = frozenset(f"{name}:{texts[row]}" for name, texts in columns.items() if texts[row])
    return found
