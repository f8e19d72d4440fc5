"""From single fits to the table: means, spreads and intervals, and who leads whom by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.deviation import sample_deviation
from recsys.bench.result import Result
from recsys.bench.task import TOLD_LEFT_OUT
from recsys.bootstrap import bootstrap_means, interval

SHOWN = ("recall@20", "ndcg@20")
"""Metrics that tables show."""
SAMPLES = 1000
"""Bootstrap resamples of the users."""


def metric_table(results: Sequence[Result], side: str) -> dict[str, dict[str, Any]]:
    """Metric → mean, standard deviation (of the sample; NaN for one seed), number of seeds, each seed's value.

    On test each metric that is an average over users has its 95% interval too.
    """
    found: dict[str, dict[str, Any]] = {}
    for metric in getattr(results[0], side):
        values = np.array([_number(getattr(result, side)[metric]) for result in results])
        found[metric] = {
            "mean": float(values.mean()),
            "std": float(sample_deviation(values)),
            "seeds": len(values),
            "values": values.tolist(),
        }
    if side == "test" and results[0].per_user:
        names = list(results[0].per_user)
        means = bootstrap_means(_per_user(results, names), samples=SAMPLES, seed=0)
        for column, name in enumerate(names):
            found[name]["interval"] = interval(means[:, column])
    return found


def lead(one: Sequence[Result], other: Sequence[Result]) -> dict[str, tuple[float, float, float]]:
    """Metric → the first model's mean less the other's, with the 95% interval over the same resampled users.

    NaN where they were not judged on the same users.
    """
    names = [name for name in (*SHOWN, *(f"{name}{TOLD_LEFT_OUT}" for name in SHOWN)) if name in one[0].per_user]
    if not np.array_equal(one[0].users, other[0].users) or len(one[0].users) == 0:
        return dict.fromkeys(names, (float("nan"), float("nan"), float("nan")))
    gap = _per_user(one, names) - _per_user(other, names)
    means = bootstrap_means(gap, samples=SAMPLES, seed=0)
    return {name: (float(gap[:, i].mean()), *interval(means[:, i])) for i, name in enumerate(names)}


def _per_user(results: Sequence[Result], names: Sequence[str]) -> NDArray[np.float64]:
    """Each user's mean over the seeds, float64 [n_users, n_metrics]."""
    stacked = [np.stack([result.per_user[name] for name in names], axis=1) for result in results]
    mean: NDArray[np.float64] = np.mean(stacked, axis=0)
    return mean


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
