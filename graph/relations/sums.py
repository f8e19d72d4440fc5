"""Many events of one pair as one edge, and how an event fades with time.

Both are exact in a sense that lets a day of events be added to a graph that is there and give, bit for bit, the graph
that all events together would have given: sums run in the order of the events, and fading is a product by powers of
two, which floating point makes without rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
TINY = float(np.finfo(np.float32).tiny)
"""What an event counts at least, however old: an edge fades but never goes."""


def summed(key: NDArray[np.int64], weight: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The different keys, rising, and the sum of each one's weights, added up in the order in which they stand.

    Args:
        key: int64 [n].
        weight: float64 [n].

    Returns:
        int64 [m] and float64 [m].
    """
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.ones(len(key), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    place = np.cumsum(first) - 1
    total = np.bincount(place, weights=weight[order], minlength=int(first.sum()))  # adds one by one, in order
    return ordered[first], total.astype(np.float64)


@dataclass(frozen=True)
class Fading:
    """Weight that halves with every half-life: w 2^(-(T - t) / h), T the time of the last event.

    Sums are kept as seen from the start of a period of one half-life, `period` = floor(T / h): moving on to a later
    period multiplies them by a power of two. Weights that are to be read are as seen from T itself.

    Args:
        half_life_s: h, in seconds.
    """

    half_life_s: float

    def period(self, time_s: float) -> int:
        """The period that a time (UTC seconds) lies in."""
        return int(np.floor(time_s / self.half_life_s))

    def at_period(self, weight: NDArray[np.floating], time_s: NDArray[np.float64], period: int) -> NDArray[np.float64]:
        """Weights of events as seen from the start of a period, float64 [n]."""
        passed = time_s / self.half_life_s
        whole = np.floor(passed)
        grown = weight.astype(np.float64) * np.exp2(passed - whole)
        return np.ldexp(grown, (whole - period).astype(np.int32))

    def moved(self, total: NDArray[np.float64], period: int, later: int) -> NDArray[np.float64]:
        """Sums as seen from a later period."""
        return np.ldexp(total, period - later)

    def now(self, total: NDArray[np.float64], period: int, last_s: float) -> NDArray[np.float32]:
        """Sums of a period as seen from the time of the last event, float32 [n], > 0."""
        faded = total * np.exp2(period - last_s / self.half_life_s)
        seen: NDArray[np.float32] = np.maximum(faded, TINY).astype(np.float32)
        return seen
