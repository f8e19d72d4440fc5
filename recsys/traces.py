"""What a user did lately, in rows of one bundle: what an answer is made of, whoever looked the ids up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary

Rows = NDArray[np.int64]
NO_ROWS: Rows = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Traces:
    """What a user did lately.

    Args:
        viewed: int64 [n]; row of each item lately viewed, newest last, -1 where the bundle does not know it.
        ages_s: float64 [n]; seconds since each; empty where not known: then only the order counts.
        seen: int64; further rows not to be shown.
        again: int64; rows that may be shown although they were viewed lately, or met when the model was trained.
        at_s: the moment by which the ages are told, UTC seconds, where that may be a while ago; None: that of asking.
    """

    viewed: Rows = field(default_factory=lambda: NO_ROWS)
    ages_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seen: Rows = field(default_factory=lambda: NO_ROWS)
    again: Rows = field(default_factory=lambda: NO_ROWS)
    at_s: float | None = None

    @classmethod
    def of(
        cls,
        items: Vocabulary,
        viewed: Sequence[str],
        ages_s: Sequence[float] = (),
        seen: Collection[str] = (),
        again: Collection[str] = (),
    ) -> Traces:
        """From outside ids."""
        return cls(
            items.idxs(viewed), np.array(ages_s, dtype=np.float64), known_rows(items, seen), known_rows(items, again)
        )

    def then(self, viewed: Rows) -> Traces:
        """With items viewed this moment, which are not to be shown again; int64 [n], newest last, -1 where unknown."""
        timed = len(self.ages_s) == len(self.viewed)
        return Traces(
            np.concatenate([self.viewed, viewed]),
            np.concatenate([self.ages_s, np.zeros(len(viewed))]) if timed else self.ages_s,
            self.seen,
            without(self.again, viewed),
        )


def known_rows(items: Vocabulary, item_ids: Collection[str]) -> Rows:
    """Rows of the ids that are known, int64."""
    if not item_ids:
        return NO_ROWS
    rows = items.idxs(item_ids)
    return rows[rows >= 0]


def without(rows: Rows, others: Rows) -> Rows:
    """Rows that are not among the others, in their order."""
    return rows[~np.isin(rows, others)] if len(rows) and len(others) else rows
