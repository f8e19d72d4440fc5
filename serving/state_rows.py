"""A user's live state in rows of one catalog, kept beside it: one more event adds to it what the event says, so that
the hundreds of ids of a state are not looked up again for each answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.traces import Traces
from serving.recent import Recent
from serving.steady import until_s

STEADY_S = 60.0
"""For so long at most, and half of it at least, a user who does nothing is answered as of one moment: what was worked
out for them holds, and then is worked out anew, as their events have grown older."""


@dataclass(frozen=True, eq=False)
class StateRows:
    """The rows of a state.

    Args:
        items: the catalog's ids; not held, or each remembered user would keep a catalog that was left long ago.
        recent: int64 [n]; row of each recent event's item in the order of arrival, -1 where unknown.
        times_s: float64 [n]; when each happened, UTC seconds.
        met: int64; rows of the items that the user had to do with, in no order.
    """

    items: ReferenceType[Vocabulary]
    recent: NDArray[np.int64]
    times_s: NDArray[np.float64]
    met: NDArray[np.int64]
    _told: list[Traces] = field(default_factory=list, init=False, repr=False)
    """As of the latest moment for which they were asked."""

    def traces(self, now_s: float) -> Traces:
        """What the recommender is told of them where nothing may be shown again: the same for a while."""
        at_s = self._told[0].at_s if self._told else None
        if at_s is None or not at_s <= now_s < until_s(at_s, STEADY_S):
            viewed, times_s = self.by_time()
            self._told[:] = [Traces(viewed, np.maximum(now_s - times_s, 0.0), self.met, at_s=now_s)]
        return self._told[0]

    @classmethod
    def of(cls, items: Vocabulary, recent: Recent, met: Collection[str]) -> StateRows:
        """Look all of a state up."""
        ids = dict.fromkeys(met)  # most recent events are of these, and a look into a large catalog takes a microsecond
        n_met = len(ids)
        ids.update(dict.fromkeys(recent.items))
        of_all = items.idxs(ids)
        row_of = dict(zip(ids, of_all.tolist(), strict=True))
        rows = np.array([row_of[item_id] for item_id in recent.items], dtype=np.int64)
        known = of_all[:n_met]
        return cls(ref(items), rows, recent.times_s, known[known >= 0])

    def after(self, recent: Recent, added: Recent, new: Iterable[str]) -> StateRows | None:
        """Once more has happened; None where the catalog is gone.

        Args:
            recent: the events that are recent now.
            added: those that have happened, in the order of arrival.
            new: ids of the items that the user had not had to do with before.
        """
        items = self.items()
        if items is None:
            return None
        more = StateRows.of(items, added, list(new))
        rows = np.concatenate([self.recent, more.recent])[-len(recent) :].copy()  # a part would keep the whole
        return StateRows(self.items, rows, recent.times_s, np.concatenate([self.met, more.met]))

    def by_time(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the recent events and their times, newest last: an event may arrive late."""
        times_s = self.times_s
        if np.any(times_s[1:] < times_s[:-1]):
            order = np.argsort(times_s, kind="stable")
            return self.recent[order], times_s[order]
        return self.recent, times_s
