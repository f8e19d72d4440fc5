"""Counters of items through time: what was known at any moment, and nothing that came later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.appeal.examination import Examination
from recsys.appeal.shrinkage import Counts, appeal, prior_of
from recsys.ranking.standing import COUNTED


@dataclass(frozen=True, eq=False)
class CounterHistory:
    """Clicks and looks of items, a row an item and stretch of time.

    Args:
        items: outside ids.
        item_idx: int64 [n].
        shown_s: float64 [n]; end of the stretch in which it was shown, UTC seconds.
        known_s: float64 [n]; when all clicks that count for it were known.
        clicks: float64 [n].
        looks: float64 [n]; slots shown, each as far as it is looked at.
        examination: by which looks were told.
        randomized: share of the slots that were drawn, so that the curves are no supposition.
        half_life_s: counts are worth half after so long.
        window_s: a click counted so long after its slot.
        until_s: nothing that was shown later is counted.
    """

    items: Vocabulary
    item_idx: NDArray[np.int64]
    shown_s: NDArray[np.float64]
    known_s: NDArray[np.float64]
    clicks: NDArray[np.float64]
    looks: NDArray[np.float64]
    examination: Examination
    randomized: float
    half_life_s: float
    window_s: float
    until_s: float

    def __len__(self) -> int:
        return len(self.item_idx)

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """When something became known, rising."""
        return np.unique(self.known_s)

    def counts(self, moment: float) -> Counts:
        """What was known at a moment of each item."""
        known = self.known_s <= moment
        item, n = self.item_idx[known], len(self.items)
        fading = 0.5 ** ((moment - self.shown_s[known]) / self.half_life_s)
        looks = self.looks[known] * fading

        def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.bincount(item, values, n).astype(np.float64)

        return Counts(summed(self.clicks[known] * fading), summed(looks), summed(looks * fading))


class StandingThen:
    """The columns of a catalog's items as they were known at any moment.

    Args:
        columns: float32 [n_items, len(STANDING)]; what does not come of counters.
        items: outside ids of the catalog.
        history: the counters.
    """

    def __init__(self, columns: NDArray[np.float32], items: Vocabulary, history: CounterHistory) -> None:
        self._columns, self._history = columns, history
        self._rows = history.items.idxs(items.ids)
        self._last: tuple[int, NDArray[np.float32]] = (0, columns)

    def __call__(self, moment: float) -> NDArray[np.float32]:
        """The columns at a moment, UTC seconds, by what became known last."""
        place = int(np.searchsorted(self._history.moments, moment, side="right"))
        if place != self._last[0]:
            columns = self._columns.copy()
            if place:
                counts = self._history.counts(float(self._history.moments[place - 1]))
                columns[:, COUNTED] = appeal(counts.at(self._rows), prior_of(counts))
            self._last = place, columns
        return self._last[1]


def standing_then(
    columns: NDArray[np.float32], items: Vocabulary, history: CounterHistory | None
) -> Callable[[float], NDArray[np.float32]]:
    """What was known of the items at a moment: when each came, and, where somebody counted, how it did when shown."""
    return (lambda _: columns) if history is None else StandingThen(columns, items, history)
