"""May an estimate be believed? What the weights look like, and whether the log supports the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log
from recsys.replay.survey import BIN_EDGES, LogSurvey, PolicySurvey
from recsys.replay.tally import Tally

F64 = NDArray[np.float64]

_RARE = (0.0, 0.001, 0.01, 0.1)
_RARELY = ("never", "under 0.1%", "0.1% to 1%", "1% to 10%", "over 10%")
"""Shares of the log's slots that tell items apart by how well the log knows them."""


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Of one policy on one log.

    Args:
        n_rows: rows of the log.
        n_matched: rows that the policy could have shown.
        effective_sample_size: (Σ w)² / Σ w² of the headline weights.
        mean_weight: should be 1; less means that the policy shows what the log never does, anything else that the
            propensities are wrong.
        mean_weight_error: its standard error.
        largest_weight: of one row.
        heaviest_share: the largest weight's share of all weight.
        weight_quantiles: "p50", "p90", "p99", "p99.9" of the weights of single slots, upper ends of histogram bins.
        weight_histogram: (upper end, rows) of the bins that hold rows.
        unsupported_share: share of what the policy would show that the log never showed in that kind of slot.
        sure_share: share of rows with a propensity of 1: no exploration there.
        imbalance: the largest standardized difference between the kinds of slot with and without weights; weights must
            not change who visits.
        coverage: share of the items that the policy would show at least once in these rows.
        overlap: by how large a share of the log's slots an item has: in words, the policy's showings of such items as a
            share of all its showings, and the log's.
        evenness: how evenly it spreads over the items: entropy of the exposure over log(items), 0 to 1.
    """

    n_rows: int
    n_matched: int
    effective_sample_size: float
    mean_weight: float
    mean_weight_error: float
    largest_weight: float
    heaviest_share: float
    weight_quantiles: dict[str, float]
    weight_histogram: tuple[tuple[float, int], ...]
    unsupported_share: float
    sure_share: float
    imbalance: float
    coverage: float
    evenness: float
    overlap: tuple[tuple[str, float, float], ...]


def diagnose(
    log: Log, tally: Tally, policy: int, *, weights: str, on_log: LogSurvey, on_policy: PolicySurvey
) -> Diagnostics:
    """Look at one policy's weights, support and exposure.

    Args:
        log: the log.
        tally: its sums.
        policy: which policy.
        weights: the column of the headline estimator's weights.
        on_log: of the first pass.
        on_policy: of the first pass.
    """
    column = tally.columns.index(weights)
    n, total = tally.n.sum(), len(log)
    weight = tally.at(policy, weights)
    square = float(tally.squares[policy, column])
    heaviest = float(tally.heaviest[policy, column])
    mean = float(weight.sum() / n) if n else math.nan
    units = len(weight)
    residual = (weight - mean * tally.n) / n if n else weight
    exposure = tally.exposure[policy]
    return Diagnostics(
        n_rows=total,
        n_matched=int(tally.matched[policy, column]),
        effective_sample_size=float(weight.sum() ** 2 / square) if square > 0 else 0.0,
        mean_weight=mean,
        mean_weight_error=math.sqrt(float(residual @ residual) * units / (units - 1)) if units > 1 else math.nan,
        largest_weight=heaviest,
        heaviest_share=float(heaviest / weight.sum()) if weight.sum() > 0 else math.nan,
        weight_quantiles=_quantiles(on_policy.histogram),
        weight_histogram=tuple(
            (float(edge), int(rows)) for edge, rows in zip(BIN_EDGES[1:], on_policy.histogram, strict=True) if rows
        ),
        unsupported_share=_unsupported(exposure, on_log.shown, total),
        sure_share=on_log.sure / total if total else math.nan,
        imbalance=_imbalance(tally.balance[policy], on_log.shown.sum(axis=1)),
        coverage=float((exposure >= 1.0).mean()),
        evenness=_evenness(exposure),
        overlap=_overlap(exposure, on_log.shown.sum(axis=0), total),
    )


def _overlap(exposure: F64, shown: F64, n_rows: int) -> tuple[tuple[str, float, float], ...]:
    """Exposure and showings by how often the log showed an item; items that the log does not know were never shown."""
    place = np.searchsorted(_RARE, shown / max(n_rows, 1), side="left")
    of_policy = np.bincount(place, weights=exposure, minlength=len(_RARELY)) / max(n_rows, 1)
    of_log = np.bincount(place, weights=shown, minlength=len(_RARELY)) / max(n_rows, 1)
    of_policy[0] += max(0.0, 1.0 - float(of_policy.sum()))
    return tuple(zip(_RARELY, of_policy.tolist(), of_log.tolist(), strict=True))


def _unsupported(exposure: F64, shown: F64, n_rows: int) -> float:
    """Share of the exposure on items without a single showing, or unknown to the log."""
    supported = exposure[shown.sum(axis=0) > 0].sum()
    return float(np.clip(1.0 - supported / n_rows, 0.0, 1.0)) if n_rows else math.nan


def _imbalance(weighted: F64, plain: F64) -> float:
    """Largest |weighted share - share| / √(share (1 - share)) over the cells; NaN with one cell or no weight."""
    if weighted.sum() <= 0 or (plain > 0).sum() < 2:
        return math.nan
    share = plain / plain.sum()
    other = weighted / weighted.sum()
    there = plain > 0
    gap = np.abs(other - share)[there] / np.sqrt(share * (1 - share))[there]
    return float(gap.max())


def _evenness(exposure: F64) -> float:
    share = exposure[exposure > 0] / exposure.sum() if exposure.sum() > 0 else exposure[:0]
    if len(exposure) < 2 or not len(share):
        return math.nan
    return float(-(share * np.log(share)).sum() / math.log(len(exposure)))


def _quantiles(histogram: NDArray[np.int64]) -> dict[str, float]:
    if not histogram.sum():
        return {}
    reached = np.cumsum(histogram) / histogram.sum()
    ends = np.concatenate([[0.0], BIN_EDGES[2:]])
    return {
        f"p{percent:g}": float(ends[int(np.searchsorted(reached, percent / 100))])
        for percent in (50.0, 90.0, 99.0, 99.9)
    }
