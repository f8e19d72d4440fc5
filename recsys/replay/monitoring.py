"""Looking at an estimate again and again: bounds that hold at every moment at once.

An ordinary 95% interval is right at one moment chosen beforehand; who looks daily and stops at the first significant
day is wrong far more often. A confidence sequence covers the truth at all moments together (Waudby-Smith, Arbour,
Sinha, Kennedy, Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.replay.tally import PARTS

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """The estimate up to, and within, one stretch of time.

    Args:
        until: end of the stretch, UTC seconds; the number of rows so far where the log has no times.
        n: rows so far.
        value: the self-normalized estimate over all rows so far; NaN without support.
        low: lower end of the sequence, valid at all moments together.
        high: upper end.
        within: the estimate of this stretch alone.
        logged: the log's own mean in this stretch.
    """

    until: float
    n: int
    value: float
    low: float
    high: float
    within: float
    logged: float


def sequence(stretches: F64, until: list[float], *, level: float, expected_rows: int) -> tuple[Moment, ...]:
    """The running estimate with an always-valid interval.

    Args:
        stretches: float64 [len(PARTS), stretches], sums in order of time.
        until: the end of each stretch.
        level: of the sequence.
        expected_rows: the sample size at which the bounds should be tightest.
    """
    moments: list[Moment] = []
    for stretch, running in zip(stretches.T, np.cumsum(stretches, axis=1).T, strict=True):
        so_far, here = dict(zip(PARTS, running.tolist(), strict=True)), dict(zip(PARTS, stretch.tolist(), strict=True))
        value, error = ratio(so_far)
        half = radius(so_far["n"], error, level=level, expected_rows=expected_rows)
        moments.append(
            Moment(
                until[len(moments)],
                int(so_far["n"]),
                value,
                value - half,
                value + half,
                ratio(here)[0],
                here["r"] / here["n"] if here["n"] else math.nan,
            )
        )
    return tuple(moments)


def radius(n: float, error: float, *, level: float, expected_rows: int) -> float:
    """Half the width of the sequence after n rows with this standard error; tightest near `expected_rows`."""
    if n < 2 or not math.isfinite(error):
        return math.nan
    alpha = 1 - level
    # the mixture's variance that is best at expected_rows (their equation 12)
    rho = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / expected_rows
    spread = error * math.sqrt(n)
    return spread * math.sqrt(2 * (n * rho + 1) / (n**2 * rho) * math.log(math.sqrt(n * rho + 1) / alpha))


def ratio(sums: dict[str, float]) -> tuple[float, float]:
    """Σ wr / Σ w and its standard error by linearization, from the sums of `PARTS`; NaN where no row counts."""
    if sums["w"] <= 0:
        return math.nan, math.nan
    value = sums["wr"] / sums["w"]
    square = sums["wrwr"] - 2 * value * sums["wwr"] + value**2 * sums["ww"]
    return value, math.sqrt(max(square, 0.0)) / sums["w"]
