"""How many impressions it takes to see a difference of a given size, by replay and by an A/B test."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Power:
    """What it takes to find a lift with a given probability.

    Args:
        lift: relative difference to the other policy's value.
        probability: of finding it.
        by_replay: slots of a log like this one; None where the error of the difference is unknown.
        by_ab_test: slots of an A/B test, both arms together.
    """

    lift: float
    probability: float
    by_replay: int | None
    by_ab_test: int | None


def power_of(
    *,
    n_rows: int,
    value: float,
    gap_error: float,
    value_error: float,
    lift: float,
    level: float,
    probability: float = 0.8,
) -> Power:
    """Rows needed for a two-sided test of level 1 - `level` to find a lift with this probability.

    Errors fall as 1 / √rows, so the rows of this log are scaled by (error here / error needed)².

    Args:
        n_rows: of this log.
        value: of the other policy.
        gap_error: standard error of the difference of the two on this log.
        value_error: standard error of a plain mean on this log: of the logged policy.
        lift: to be found, such as 0.02.
        level: of the interval.
        probability: of finding it.
    """
    quantiles = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(probability))
    needed = abs(lift * value) / quantiles

    def rows(error: float) -> int | None:
        if not (math.isfinite(error) and math.isfinite(needed) and needed > 0):
            return None
        return math.ceil(n_rows * (error / needed) ** 2)

    # each arm of an A/B test needs twice the rows of a mean with the same error, as two means are subtracted
    return Power(lift, probability, rows(gap_error), rows(2.0 * value_error))
