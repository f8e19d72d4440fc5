"""Which estimator? The least noisy one that no less biased one contradicts (SLOPE: Su, Srinath, Krishnamurthy 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recsys.replay.intervals import Estimate


def slope(ladder: Sequence[Estimate]) -> int:
    """Place of the choice in a ladder from least biased and noisiest to most biased and quietest.

    The intervals value ± 2 standard errors are gone through in order while they have a point in common; the last one
    that still fits is chosen.

    Args:
        ladder: estimates; undefined ones are passed over.

    Returns:
        a place in the ladder, -1 where no estimate is defined.
    """
    low, high, chosen = -math.inf, math.inf, -1
    for place, estimate in enumerate(ladder):
        if not (math.isfinite(estimate.value) and math.isfinite(estimate.standard_error)):
            continue
        low = max(low, estimate.value - 2 * estimate.standard_error)
        high = min(high, estimate.value + 2 * estimate.standard_error)
        if low > high:
            break
        chosen = place
    return chosen
