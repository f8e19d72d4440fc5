"""What a ranker knew of items at any moment, by what had been counted until then."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import standing_by
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
        self._kept = lru_cache(max(1, KEPT_BYTES // (4 * max(1, numbers))))(self._by_what_became_known)

    def __call__(self, moment: float) -> Standing:
        """The standing at a moment, UTC seconds, by what became known last."""
        place = int(np.searchsorted(self._history.moments, moment, side="right"))
        return self._kept(place) if place else self._uncounted

    def _by_what_became_known(self, place: int) -> Standing:
        """At the end of so many of the history's moments."""
        history = self._history
        then = float(history.moments[place - 1])
        counts = history.counts(then, history.examination(then))
        return self._uncounted.counting(*standing_by(counts, history.scenarios, self._rows))


def standing_then(standing: Standing, items: Vocabulary, history: CounterHistory | None) -> Callable[[float], Standing]:
    """What was known of the items at a moment: when each came, and, where somebody counted, how it did when shown."""
    return (lambda _: standing) if history is None else StandingThen(standing, items, history)
