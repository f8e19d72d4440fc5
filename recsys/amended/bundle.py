"""A bundle with what has changed since it was made; everything that reads a `Bundle` reads this one alike.

Trained items keep their rows, new ones follow behind, and a removed one leaves its row empty. The large arrays of the
bundle stay memory-mapped and shared between workers: only what is small, or changed, is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle_parts import NeighborList
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import COLUMNS, COUNTED, DAY_S, Standing, dated

Listed = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows, best first, and their scores."""


@dataclass(frozen=True, eq=False)
class AmendedList(NeighborList):
    """A neighbor list of which some rows are others, or new.

    Args:
        changed: row -> its neighbors now.
    """

    changed: Mapping[int, Listed] = field(default_factory=dict)

    def of(self, item_idx: int) -> Listed:
        """As `NeighborList.of`."""
        if item_idx in self.changed:
            return self.changed[item_idx]
        if item_idx >= len(self.idx):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return super().of(item_idx)

    def nearest(self, rows: NDArray[np.int64], depth: int) -> NDArray[np.int32]:
        """As `NeighborList.nearest`."""
        found = np.full((len(rows), depth), -1, dtype=np.int32)
        known = rows < len(self.idx)
        found[known, : self.idx.shape[1]] = super().nearest(rows[known], depth)
        for place, row in enumerate(rows.tolist()):
            if row in self.changed:
                near = self.changed[row][0][:depth]
                found[place, : len(near)], found[place, len(near) :] = near, -1
        return found

    def near(self, ours: NDArray[np.int64], theirs: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
        """As `NeighborList.near`."""
        found = super().near(np.minimum(ours, len(self.idx) - 1), theirs, depth)
        for place, (one, other) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
            if one in self.changed or one >= len(self.idx):
                idx, score = self.of(one)
                found[place] = bool(np.any((idx[:depth] == other) & (score[:depth] > 0)))
        return found


@dataclass(frozen=True, eq=False)
class AmendedBundle(Bundle):
    """A bundle and its amendments; made by `recsys.amended.amendments.Amendments`.

    Args:
        trained: the bundle; rows beyond its items are new.
        shown: row -> display data, of new and of changed items.
        gone: rows of removed items; they are never shown, and no id leads to them.
        touched: rows whose list of similar items is not the bundle's any more.
        value_changes: attribute -> value -> how many items have it more (or less) than in the bundle.
        category_changes: category -> its members now, most popular first.
        revision: rises with every amendment of a worker.
    """

    trained: Bundle = field(kw_only=True)
    shown: Mapping[int, bytes] = field(default_factory=dict)
    gone: frozenset[int] = frozenset()
    touched: frozenset[int] = frozenset()
    value_changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    category_changes: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    revision: int = 0

    @property
    def n_trained(self) -> int:
        """Items of the bundle; rows from here on are new."""
        return len(self.trained)

    @property
    def removed(self) -> NDArray[np.int64]:
        """As `Bundle.removed`."""
        return np.fromiter(self.gone, dtype=np.int64)

    def together(self, item_idx: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `Bundle.together`; nobody has met a new item yet."""
        if item_idx >= self.n_trained:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        return super().together(item_idx)

    def together_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """As `Bundle.together_of`."""
        known = rows < self.n_trained
        idx = np.full((len(rows), self.co_idx.shape[1]), -1, dtype=np.int32)
        count = np.zeros_like(idx)
        idx[known], count[known] = super().together_of(rows[known])
        return idx, count

    def display_json(self, item_idx: int) -> bytes:
        """As `Bundle.display_json`."""
        return self.shown[item_idx] if item_idx in self.shown else super().display_json(item_idx)

    def category_members(self, category: str) -> NDArray[np.int64]:
        """As `Bundle.category_members`."""
        if category in self.category_changes:
            return self.category_changes[category]
        return super().category_members(category)

    @cached_property
    def prices(self) -> NDArray[np.float32]:
        """As `Bundle.prices`."""
        prices = np.full(len(self), np.nan, dtype=np.float32)
        prices[: self.n_trained] = self.trained.prices
        for row, shown in self.shown.items():
            price = orjson.loads(shown)["price"]
            prices[row] = np.nan if price is None else price
        return prices

    @cached_property
    def standing(self) -> Standing:
        """As `Bundle.standing`; a new item came when its attributes say, and has been shown to nobody."""
        trained = self.trained.standing
        standing = Standing.of_nothing(len(self))
        standing.columns[: self.n_trained] = trained.columns
        for row, shown in self.shown.items():
            when = dated(orjson.loads(shown)["attributes"])
            if np.isfinite(when):
                standing.columns[row, COLUMNS.index("since")] = when / DAY_S
        if np.isfinite(trained.columns[:, COUNTED]).any():
            standing.columns[self.n_trained :, COUNTED] = 0
        return standing.counting_as(trained)

    @cached_property
    def attribute_counts(self) -> Mapping[str, Mapping[str, int]]:
        """As `Bundle.attribute_counts`."""
        counts = dict(self.trained.attribute_counts)
        for name, changes in self.value_changes.items():
            of_name = dict(counts.get(name, {}))
            for value, change in changes.items():
                of_name[value] = of_name.get(value, 0) + change
            counts[name] = of_name
        return counts

    @cached_property
    def ranker(self) -> LinearRanker | None:
        """As `Bundle.ranker`."""
        return self.trained.ranker
