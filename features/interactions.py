"""What users did: one row an event, kept in the order of the shop's file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events between users and items.

    Args:
        users: outside ids of the users.
        items: outside ids of the items; the catalog's own vocabulary.
        user_idx: int64 [n].
        item_idx: int64 [n].
        event_type: object [n] of str, such as "view" or "purchase".
        weight: float32 [n]; how much the event says about taste, > 0.
        timestamp: float64 [n], UTC seconds; None where the shop has no times.
        placed: bool [n]; where there are no times, whether an event stands among the others in the order in which it
            happened; None where all do, or times tell.

    Raises:
        ValueError: lengths differ, a row number is out of range, or a weight is not positive and finite.
    """

    users: Vocabulary
    items: Vocabulary
    user_idx: NDArray[np.int64]
    item_idx: NDArray[np.int64]
    event_type: NDArray[np.object_]
    weight: NDArray[np.float32]
    timestamp: NDArray[np.float64] | None = None
    placed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.user_idx)
        for name in ("item_idx", "event_type", "weight", "timestamp", "placed"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"{name} must have a row an event ({n}), it has {len(column)}")
        for name, rows, size in (
            ("user_idx", self.user_idx, len(self.users)),
            ("item_idx", self.item_idx, len(self.items)),
        ):
            if n and (rows.min() < 0 or rows.max() >= size):
                row = int(np.flatnonzero((rows < 0) | (rows >= size))[0])
                raise ValueError(f"{name} must be in [0, {size}), event {row} has {rows[row]}")
        bad = np.flatnonzero(~(np.isfinite(self.weight) & (self.weight > 0)))
        if len(bad):
            raise ValueError(f"weight must be > 0 and finite, event {bad[0]} has {self.weight[bad[0]]}")

    def __len__(self) -> int:
        return len(self.user_idx)

    @classmethod
    def empty(cls, users: Vocabulary, items: Vocabulary) -> Interactions:
        """No events."""
        rows = np.zeros(0, dtype=np.int64)
        return cls(users, items, rows, rows, np.zeros(0, dtype=object), np.zeros(0, dtype=np.float32))

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Interactions:
        """The events of a mask or of row numbers; the vocabularies stay."""
        return replace(
            self,
            user_idx=self.user_idx[keep],
            item_idx=self.item_idx[keep],
            event_type=self.event_type[keep],
            weight=self.weight[keep],
            timestamp=None if self.timestamp is None else self.timestamp[keep],
            placed=None if self.placed is None else self.placed[keep],
        )

    def before(self, t: float) -> Interactions:
        """The events strictly before `t` (UTC seconds).

        Raises:
            ValueError: the events carry no times.
        """
        if self.timestamp is None:
            raise ValueError("events carry no timestamp, so none can be said to come before a time")
        return self.where(self.timestamp < t)

    def met(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each user's different items as CSR (indptr, indices), in order of first meeting, newest last."""
        order = np.arange(len(self)) if self.timestamp is None else np.argsort(self.timestamp, kind="stable")
        user, item = self.user_idx[order], self.item_idx[order]
        _, first = np.unique(user * len(self.items) + item, return_index=True)
        first = first[np.lexsort((first, user[first]))]
        indptr = np.zeros(len(self.users) + 1, dtype=np.int64)
        np.cumsum(np.bincount(user[first], minlength=len(self.users)), out=indptr[1:])
        return indptr, item[first]

    def matrix(self, *, binary: bool = False) -> sparse.csr_matrix:
        """User-item matrix, float32 [n_users, n_items]: summed weights, or 1 where any event is."""
        shape = (len(self.users), len(self.items))
        summed = sparse.csr_matrix((self.weight, (self.user_idx, self.item_idx)), shape=shape, dtype=np.float32)
        if binary:
            summed.data[:] = 1.0
        return summed
