"""What a ranker knew of items at any moment, by what had been counted until then."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import lru_cache

import numpy as np

from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import F32, standing_by
from recsys.ranking.standing import COLUMNS, Standing

KEPT_BYTES = 1 << 28
"""About so much memory holds what was known at the moments asked for last."""


class StandingThen:
    """The standing of a catalog's items as it was known at any moment; several threads may ask.

    Args:
        standing: what does not come of counters; its counts, if any, are of another moment and do not hold.
        items: outside ids of the catalog.
        history: the counters.
    """

    def __init__(self, standing: Standing, items: Vocabulary, history: CounterHistory) -> None:
        self._history = history
        self._rows = history.items.idxs(items.ids)
        self._uncounted = standing.uncounted()
        numbers = len(items) * (len(COLUMNS) + 2 * len(history.scenarios))
        self._memory = lru_cache(max(1, KEPT_BYTES // 2 // (4 * max(1, numbers))))
        self._told = self._memory(self._by_what_became_known)
        self._kept = self._memory(self._counted)

    def over(self, standing: Standing) -> StandingThen:
        """The same counters over another standing of the same items; what was worked out of them is remembered."""
        other = copy(self)
        other._uncounted = standing.uncounted()
        other._kept = self._memory(other._counted)
        return other

    def __call__(self, moment: float) -> Standing:
        """The standing at a moment, UTC seconds, by what became known last."""
        place = int(np.searchsorted(self._history.moments, moment, side="right"))
        return self._kept(place) if place else self._uncounted

    def _counted(self, place: int) -> Standing:
        return self._uncounted.counting(*self._told(place))

    def _by_what_became_known(self, place: int) -> tuple[F32, dict[str, F32]]:
        """What is counted at the end of so many of the history's moments."""
        history = self._history
        then = float(history.moments[place - 1])
        counts = history.counts(then, history.examination(then))
        return standing_by(counts, history.scenarios, self._rows)


def standing_then(standing: Standing, items: Vocabulary, history: CounterHistory | None) -> Callable[[float], Standing]:
    """What was known of the items at a moment: when each came, and, where somebody counted, how it did when shown."""
    return (lambda _: standing) if history is None else StandingThen(standing, items, history)
