"""How sure an estimate is: bootstrap, Student-t, empirical Bernstein and Hoeffding intervals over the same sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from recsys.bootstrap import interval
from recsys.replay.estimators import Formula
from recsys.replay.tally import Tally

F64 = NDArray[np.float64]
NAN = float("nan")
Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator says of a policy.

    Args:
        value: NaN where undefined.
        low: lower end of the bootstrap interval.
        high: upper end.
        standard_error: by linearization.
        n_matched: rows with a weight; all rows for an estimator that weights none.
        effective_sample_size: (Σ weight)² / Σ weight² in rows of equal worth; NaN for an estimator without weights.
        intervals: "bootstrap", "student_t", "empirical_bernstein", "hoeffding"; (NaN, NaN) where one is not defined.
        replicates: float64 [samples]; the value in each resample, the same resamples for all policies of a log.
        note: why there is no value, or what was chosen; "".
    """

    value: float
    low: float = NAN
    high: float = NAN
    standard_error: float = NAN
    n_matched: int = 0
    effective_sample_size: float = NAN
    intervals: dict[str, Interval] = field(default_factory=dict)
    replicates: F64 = field(default_factory=lambda: np.zeros(0))
    note: str = ""


def resamples(n_buckets: int, *, samples: int, seed: int) -> F64:
    """How often each bucket is drawn in each resample: Poisson(1), float64 [samples, buckets].

    The Poisson bootstrap (Chamandy et al. 2012) draws each unit on its own, which a stream allows.
    """
    return np.random.default_rng([seed, 2]).poisson(1.0, size=(samples, n_buckets)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Resampled:
    """The sums of a tally in each resample.

    Args:
        n: float64 [samples]; rows.
        reward: float64 [samples]; the log's own rewards.
        sums: float64 [policies, samples, columns].
    """

    n: F64
    reward: F64
    sums: F64

    @classmethod
    def of(cls, tally: Tally, *, samples: int, seed: int) -> Resampled:
        """Draw the resamples of a tally."""
        drawn = resamples(len(tally.n), samples=samples, seed=seed)
        sums = np.stack([drawn @ of_policy.T for of_policy in tally.sums])
        return cls(drawn @ tally.n, drawn @ tally.reward, sums)


def evaluate(
    formula: Formula, tally: Tally, policy: int, resampled: Resampled, *, level: float, span: float, note: str = ""
) -> Estimate:
    """Value and intervals of an estimator.

    Args:
        formula: the estimator.
        tally: the sums.
        policy: which policy.
        resampled: the sums in each resample.
        level: of the intervals, such as 0.95.
        span: a bound on the range of a row's contribution; NaN where there is none, and then the two intervals that
            need one are undefined.
        note: to be kept with the estimate.
    """
    n = tally.n
    total = n.sum()
    columns = [tally.at(policy, name) for name in formula.mean]
    matched = int(tally.matched[policy, tally.columns.index(formula.weight)]) if formula.weight else int(total)
    top, bottom = (tally.at(policy, name) for name in formula.ratio) if formula.ratio else (np.zeros_like(n), None)
    if total == 0 or (bottom is not None and bottom.sum() <= 0) or (formula.weight and matched == 0):
        return Estimate(NAN, n_matched=matched, note=note or "no logged row is one that the policy would show")
    added = np.sum(columns, axis=0) if columns else np.zeros_like(n)
    mean = added.sum() / total
    share = 0.0 if bottom is None else top.sum() / bottom.sum()
    influence = (added - mean * n) / total
    of_policy = resampled.sums[policy]
    replicate = _over(
        sum(of_policy[:, tally.columns.index(name)] for name in formula.mean) + 0.0 * resampled.n, resampled.n
    )
    if formula.ratio and bottom is not None:
        influence = influence + (top - share * bottom) / bottom.sum()
        replicate = replicate + _over(*(of_policy[:, tally.columns.index(name)] for name in formula.ratio))
    value = float(mean + share)
    if not math.isfinite(value):
        return Estimate(NAN, n_matched=matched, note=note or "the reward model has no rows to learn from")
    units = len(n)
    error = math.sqrt(float(influence @ influence) * units / (units - 1)) if units > 1 else NAN
    low, high = interval(replicate, level=level)
    intervals = {
        "bootstrap": (low, high),
        "student_t": student_t(value, error, units, level),
        "empirical_bernstein": empirical_bernstein(value, error, tally.n_units, span, level),
        "hoeffding": hoeffding(value, tally.n_units, span, level),
    }
    return Estimate(value, low, high, error, matched, _effective(formula, tally, policy), intervals, replicate, note)


def _over(top: F64, bottom: F64) -> F64:
    found: F64 = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
    return found


def _effective(formula: Formula, tally: Tally, policy: int) -> float:
    """Kish's effective sample size of an estimator's weights, NaN where it weights nothing."""
    if not formula.weight:
        return NAN
    square = tally.squares[policy, tally.columns.index(formula.weight)]
    return float(tally.at(policy, formula.weight).sum() ** 2 / square) if square > 0 else NAN


def student_t(value: float, error: float, units: int, level: float) -> Interval:
    """Value ± t · standard error; good where a mean of many is nearly normal."""
    if units < 2:
        return NAN, NAN
    half = float(special.stdtrit(units - 1, (1 + level) / 2)) * error
    return value - half, value + half


def empirical_bernstein(value: float, error: float, units: int, span: float, level: float) -> Interval:
    """Holds for any sample size while rows stay within `span` (Maurer, Pontil 2009); (NaN, NaN) without one."""
    if units < 2 or not math.isfinite(span):
        return NAN, NAN
    log_term = math.log(4 / (1 - level))
    half = error * math.sqrt(2 * log_term) + 7 * span * log_term / (3 * (units - 1))
    return value - half, value + half


def hoeffding(value: float, units: int, span: float, level: float) -> Interval:
    """Holds for any sample size, from the span alone (Hoeffding 1963); (NaN, NaN) without one."""
    if units < 1 or not math.isfinite(span):
        return NAN, NAN
    half = span * math.sqrt(math.log(2 / (1 - level)) / (2 * units))
    return value - half, value + half
