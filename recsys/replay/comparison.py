"""Two policies on the same rows: how much better is one, and how probably is it better at all?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recsys.bootstrap import interval
from recsys.replay.intervals import Estimate


@dataclass(frozen=True)
class Comparison:
    """A policy beside another one.

    Args:
        policy: the other one's name.
        other_value: its value.
        estimator: the estimator used for this policy.
        difference: this one's value less the other's.
        low: lower end of its interval.
        high: upper end.
        lift: difference over the other's value; NaN where that is 0.
        lift_low: lower end of its interval.
        lift_high: upper end.
        standard_error: of the difference, over the resamples.
        probability_better: share of the resamples in which this one is ahead; ties count half.
    """

    policy: str
    other_value: float
    estimator: str
    difference: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float
    standard_error: float
    probability_better: float


def compare(estimate: Estimate, other: Estimate, *, policy: str, estimator: str, level: float) -> Comparison:
    """Compare two estimates over the same resamples of one log.

    Args:
        estimate: this policy's.
        other: the other policy's.
        policy: the other policy's name.
        estimator: the name of the estimator.
        level: of the intervals.
    """
    if not (math.isfinite(estimate.value) and math.isfinite(other.value)):
        return Comparison(policy, other.value, estimator, *(math.nan for _ in range(8)))
    gap = estimate.replicates - other.replicates
    there = gap[np.isfinite(gap)]
    better = float((there > 0).mean() + 0.5 * (there == 0).mean()) if len(there) else math.nan
    low, high = interval(gap, level=level)
    difference = estimate.value - other.value
    if other.value == 0:
        lift = lift_low = lift_high = math.nan
    else:
        lift = difference / other.value
        ratios = np.divide(gap, other.replicates, out=np.full(len(gap), np.nan), where=other.replicates > 0)
        lift_low, lift_high = interval(ratios, level=level)
    error = float(there.std(ddof=1)) if len(there) > 1 else math.nan
    return Comparison(
        policy=policy,
        other_value=other.value,
        estimator=estimator,
        difference=difference,
        low=low,
        high=high,
        lift=lift,
        lift_low=lift_low,
        lift_high=lift_high,
        standard_error=error,
        probability_better=better,
    )
