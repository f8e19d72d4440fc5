"""Which estimator? The least noisy one that no less biased one contradicts.

The idea is SLOPE's (Su, Srinath, Krishnamurthy 2020): go from least biased and noisiest to most biased and quietest, as
long as nothing contradicts. There, two estimates contradict where their intervals have no point in common. Here both
come from the same rows and err together, so their difference is held against its own error: a bias shows far earlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from recsys.replay.intervals import Estimate

TOLERATED = 2.0
"""Standard errors of a difference that are no contradiction."""


def slope(ladder: Sequence[Estimate], *, tolerated: float = TOLERATED) -> int:
    """Place of the choice in a ladder from least biased to most biased.

    Args:
        ladder: estimates over the same resamples; undefined ones are passed over.
        tolerated: standard errors of a difference that are no contradiction.

    Returns:
        a place in the ladder, -1 where no estimate is defined.
    """
    passed: list[Estimate] = []
    chosen = -1
    for place, estimate in enumerate(ladder):
        if not (math.isfinite(estimate.value) and math.isfinite(estimate.standard_error)):
            continue
        if any(_contradict(estimate, earlier, tolerated) for earlier in passed):
            break
        passed.append(estimate)
        if chosen < 0 or estimate.standard_error < ladder[chosen].standard_error:
            chosen = place
    return chosen


def _contradict(one: Estimate, other: Estimate, tolerated: float) -> bool:
    gap = one.replicates - other.replicates
    gap = gap[np.isfinite(gap)]
    if len(gap) < 2:
        return False
    return abs(one.value - other.value) > tolerated * float(gap.std(ddof=1)) + 1e-12 * abs(other.value)
