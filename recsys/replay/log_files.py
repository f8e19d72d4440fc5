"""The columns of one log as files that grow, and as memory maps when the last row is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.replay.spill import Records, append

COLUMNS = {
    "item_idx": "i4", "position": "i2", "reward": "f8", "propensity": "f8", "request_idx": "i8", "user_idx": "i4",
    "group": "i2", "timestamp": "f8",
}  # fmt: skip
"""Columns that every log has, and their types."""
_FIELDS = {"reward": "reward", "user_idx": "user", "timestamp": "time"}
VISIT = "first visit"
"""0 in the first request that the log has of a user, 1 in later ones, -1 for somebody unknown."""


class LogFiles:
    """Takes the slots of one log in the order of its requests.

    Args:
        folder: for the files; it is made.
        items: int64, rising; the table's numbers of the items of the campaign.
        n_users: users of the table.
        counted_from: the lowest position of the table: 0, or 1.
    """

    def __init__(self, folder: Path, items: NDArray[np.int64], *, n_users: int, counted_from: int) -> None:
        folder.mkdir()
        self.items = items
        self._folder, self._from = folder, counted_from
        self._first_request = np.full(n_users, -1, dtype=np.int64)
        self._types: dict[str, np.dtype[Any]] = {}
        self.n_rows = self.n_requests = 0

    def add(self, slots: Records, others: Mapping[str, NDArray[Any]]) -> None:
        """Take whole requests, and further columns of theirs by name."""
        change = np.diff(slots["first"], prepend=slots["first"][:1]) != 0
        request = self.n_requests + np.cumsum(change)
        columns: dict[str, NDArray[Any]] = {name: slots[field] for name, field in _FIELDS.items()}
        columns |= {
            "item_idx": np.searchsorted(self.items, slots["item"]),
            "position": slots["position"] - self._from,
            "request_idx": request,
            "propensity": np.nan_to_num(slots["propensity"], nan=1.0),  # where there is none they are counted later
            VISIT: self._visits(slots["user"], request).astype(np.int8),
        }
        for name, values in (columns | dict(others)).items():
            self._types[name] = np.dtype(COLUMNS.get(name, values.dtype))
            append(self._folder / name, values.astype(self._types[name]))
        self.n_rows += len(slots)
        self.n_requests = int(request[-1]) + 1

    def _visits(self, user: NDArray[np.int32], request: NDArray[np.int64]) -> NDArray[np.int64]:
        users, first = np.unique(user, return_index=True)
        new = (users >= 0) & (self._first_request[users] < 0) if len(self._first_request) else users < -1
        self._first_request[users[new]] = request[first[new]]
        if not len(self._first_request):
            return np.full(len(user), -1)
        return np.where(user < 0, -1, self._first_request[user] != request)

    @property
    def knows_users(self) -> bool:
        """Whether somebody is known."""
        return bool((self._first_request >= 0).any())

    def mapped(self) -> dict[str, NDArray[Any]]:
        """All columns by name. The files may be deleted: what is mapped stays."""
        return {name: np.memmap(self._folder / name, dtype=dtype, mode="r+") for name, dtype in self._types.items()}
