"""What a ranker knew of items at any moment, by what had been counted until then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import standing_by
from recsys.ranking.standing import Standing


class StandingThen:
    """The standing of a catalog's items as it was known at any moment.

    Args:
        standing: what does not come of counters; its counts, if any, are of another moment and do not hold.
        items: outside ids of the catalog.
        history: the counters.
    """

    def __init__(self, standing: Standing, items: Vocabulary, history: CounterHistory) -> None:
        self._history = history
        self._rows = history.items.idxs(items.ids)
        self._uncounted = standing.uncounted()
        self._last = 0, self._uncounted

    def __call__(self, moment: float) -> Standing:
        """The standing at a moment, UTC seconds, by what became known last."""
        history = self._history
        place = int(np.searchsorted(history.moments, moment, side="right"))
        if place != self._last[0]:
            told = self._uncounted
            if place:
                then = float(history.moments[place - 1])
                counts = history.counts(then, history.examination(then))
                told = self._uncounted.counting(*standing_by(counts, history.scenarios, self._rows))
            self._last = place, told
        return self._last[1]


def standing_then(standing: Standing, items: Vocabulary, history: CounterHistory | None) -> Callable[[float], Standing]:
    """What was known of the items at a moment: when each came, and, where somebody counted, how it did when shown."""
    return (lambda _: standing) if history is None else StandingThen(standing, items, history)
