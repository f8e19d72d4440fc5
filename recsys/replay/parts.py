"""The estimate in parts of the traffic, with the share of false alarms under control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from recsys.replay.monitoring import ratio
from recsys.replay.tally import PARTS

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One part of the traffic.

    Args:
        label: such as "position 2".
        n: its rows.
        value: self-normalized estimate of the policy there; NaN without support.
        standard_error: its own.
        logged: the log's mean there.
        difference: value less logged.
        p_value: of no difference, two-sided normal; NaN where undefined.
        q_value: the share of false alarms if this and all smaller p-values are believed (Benjamini, Hochberg 1995),
            over all parts of all groupings of the policy.
    """

    label: str
    n: int
    value: float
    standard_error: float
    logged: float
    difference: float
    p_value: float
    q_value: float


def parts(labels: Sequence[str], sums: F64) -> list[Part]:
    """Estimates by part; q-values still to come.

    Args:
        labels: of the parts.
        sums: float64 [len(PARTS), parts].
    """
    return [
        _part(label, dict(zip(PARTS, column.tolist(), strict=True)))
        for label, column in zip(labels, sums.T, strict=True)
    ]


def _part(label: str, s: dict[str, float]) -> Part:
    n = s["n"]
    value, error = ratio(s)
    logged = s["r"] / n if n else math.nan
    p_value = math.nan
    if math.isfinite(value) and n > 1:
        # residuals w (r - value) / Σw - (r - logged) / n, squared and summed
        a = s["wrwr"] - 2 * value * s["wwr"] + value**2 * s["ww"]
        b = s["rr"] - n * logged**2
        cross = s["rwr"] - logged * s["wr"] - value * s["rw"] + value * logged * s["w"]
        variance = a / s["w"] ** 2 + b / n**2 - 2 * cross / (s["w"] * n)
        if variance > 1e-9 * b / n**2 > 0:
            p_value = float(2 * stats.norm.sf(abs(value - logged) / math.sqrt(variance)))
    return Part(label, int(n), value, error, logged, value - logged, p_value, math.nan)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """q-values in the order of the p-values (Benjamini, Hochberg 1995); NaN stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    stepped = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return [float(value) for value in np.minimum(q, 1.0)]
