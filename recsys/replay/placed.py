"""A policy that draws lists from an order of its own for each request: a recommender's answer, with exploration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Rows
from recsys.replay.plackett_luce import slot_probabilities
from recsys.replay.rankings import running_sum_above

F64 = NDArray[np.float64]


class PlacedLists:
    """Plackett-Luce by place: the chance of an item depends only on where the recommender had put it.

    So the probability of each place in each slot is one small table for all requests, and exact.

    Args:
        name: of the policy.
        n_items: of the log's vocabulary.
        first_request: the log's first request.
        items: int32 [requests, places], the log's rows; -1 for an item that the log does not know, or none.
        weights: float64 [places], Plackett-Luce weight of each place.
        n_slots: slots of the log's lists.
    """

    def __init__(
        self,
        name: str,
        n_items: int,
        *,
        first_request: int,
        items: NDArray[np.int32],
        weights: F64,
        n_slots: int,
    ) -> None:
        self.name = name
        self.items = items
        self._n_items = n_items
        self._first = first_request
        self._weights = weights / weights.sum()
        with np.errstate(divide="ignore"):
            self._table = slot_probabilities(np.log(self._weights), n_slots)

    def _of(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Each row's order, int32 [m, places], and its slot, int64 [m]."""
        slot = np.minimum(rows.position, len(self._table) - 1).astype(np.int64)
        return self.items[rows.request_idx - self._first], slot

    def _left(self, rows: Rows) -> tuple[F64, F64]:
        order, _ = self._of(rows)
        own: F64 = np.where(order == rows.item_idx[:, None], self._weights, 0.0).sum(axis=1)
        left = 1.0 - running_sum_above(rows, own)
        return own, np.where(left > 1e-12, left, 0.0)

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:
        """Probability of what was shown."""
        if given_above:
            own, left = self._left(rows)
            share: F64 = np.divide(own, left, out=np.zeros_like(own), where=left > 0)
            return np.minimum(share, 1.0)
        order, slot = self._of(rows)
        found: F64 = np.where(order == rows.item_idx[:, None], self._table[slot], 0.0).sum(axis=1)
        return found

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:
        """The mean of a value over what would be shown; an item that the log never held counts as the cell's mean."""
        order, slot = self._of(rows)
        known = values[rows.fold[:, None], rows.cell[:, None], np.maximum(order, 0)]
        usual = values.mean(axis=2)[rows.fold, rows.cell]
        known = np.where(order >= 0, known, usual[:, None])
        chance = np.broadcast_to(self._weights, order.shape) if given_above else self._table[slot]
        if given_above:
            chance = np.where(self._above(rows, order), 0.0, chance)
            total = chance.sum(axis=1, keepdims=True)
            chance = np.divide(chance, total, out=np.zeros_like(chance), where=total > 1e-12)
        mean: F64 = (chance * known).sum(axis=1)
        return mean

    def _above(self, rows: Rows, order: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which items of a row's order stand above it already, bool [m, places]."""
        gone = np.zeros(order.shape, dtype=np.bool_)
        for back in range(1, len(rows)):
            same = np.flatnonzero(rows.request_idx[back:] == rows.request_idx[:-back]) + back
            if not len(same):
                break
            gone[same] |= order[same] == rows.item_idx[same - back][:, None]
        return gone

    def share(self, rows: Rows, cluster_of: NDArray[np.int64]) -> F64:
        """Probability of the cluster of what was shown."""
        order, slot = self._of(rows)
        same = (cluster_of[np.maximum(order, 0)] == cluster_of[rows.item_idx][:, None]) & (order >= 0)
        found: F64 = np.where(same, self._table[slot], 0.0).sum(axis=1)
        return found

    def exposure(self, rows: Rows) -> F64:
        """How often each item would be shown; items that the log does not know are left out."""
        order, slot = self._of(rows)
        known = order >= 0
        shown = np.bincount(order[known], weights=self._table[slot][known], minlength=self._n_items)
        return shown.astype(np.float64)
