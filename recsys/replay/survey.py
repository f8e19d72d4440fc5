"""The first of the two passes over a log: reward models, the range of the weights, and what supports a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log
from recsys.replay.policy import Policy
from recsys.replay.reward_model import RewardSums

F64 = NDArray[np.float64]
LEVELS = 6
"""Candidates each for clipping, switching and shrinking, besides not doing it."""
BIN_EDGES = np.concatenate([[0.0], np.logspace(-4, 6, 101), [np.inf]])
"""Of the weight histogram: zero to 1e-4, ten bins a decade, above 1e6."""


@dataclass(frozen=True, eq=False)
class LogSurvey:
    """What was found once for a log.

    Args:
        values: expected rewards, float64 [folds, cells, items]; see `RewardSums.values`.
        shown: float64 [cells, items]; how often each item was shown.
        mean: mean reward.
        mean_square: mean squared reward.
        low: smallest reward.
        high: largest reward.
        sure: rows whose propensity is 1.
        least_propensity: the smallest.
        unexplained: how much propensities vary within a kind of slot and item, relative to their mean there: what else
            the logging policy looked at than position and group.
        cluster_of: int64 [items]; the cluster of each item, for marginalized weights.
        cluster_share: float64 [cells, clusters]; how the showings of a cell spread over the clusters.
    """

    values: F64
    shown: F64
    mean: float
    mean_square: float
    low: float
    high: float
    sure: int
    least_propensity: float
    unexplained: float
    cluster_of: NDArray[np.int64]
    cluster_share: F64


@dataclass(frozen=True, eq=False)
class PolicySurvey:
    """What was found for a policy on a log.

    Args:
        values: expected rewards for MRDR, fitted with weights, float64 [folds, cells, items].
        levels: float64 [LEVELS]; weights at which to clip or switch, rising, evenly in the logarithm between 1 and the
            largest weight. All the same where no weight exceeds 1.
        most_probable: the policy's largest probability of something that was shown.
        largest: the largest weight.
        bound: a bound of the weights: the policy's largest probability over the log's least propensity.
        histogram: int64 [len(BIN_EDGES) - 1]; rows by weight.
    """

    values: F64
    levels: F64
    most_probable: float
    largest: float
    bound: float
    histogram: NDArray[np.int64]


def survey(
    log: Log, policies: Sequence[Policy], *, cluster_of: NDArray[np.int64] | None = None
) -> tuple[LogSurvey, list[PolicySurvey]]:
    """Go through a log once for all policies.

    Args:
        log: the log.
        policies: what is to be judged on it.
        cluster_of: int64 [items]; see `clusters.py`. Left out, each item is a cluster of its own.
    """
    n_cells, n_items = log.n_cells, len(log.items)
    sums = RewardSums(n_cells, n_items)
    per_policy = [RewardSums(n_cells, n_items) for _ in policies]
    histogram = np.zeros((len(policies), len(BIN_EDGES) - 1), dtype=np.int64)
    largest, most_probable = np.zeros(len(policies)), np.zeros(len(policies))
    shown = np.zeros(n_cells * n_items)
    low, high, sure, least = np.inf, -np.inf, 0, 1.0
    total, square = 0.0, 0.0
    chance = np.zeros((2, n_cells * n_items))
    for rows in log.chunks():
        sums.add(rows)
        pair = rows.cell * n_items + rows.item_idx
        shown += np.bincount(pair, minlength=len(shown))
        own = rows.propensity if log.marginal is None else np.nan_to_num(log.marginal[rows.within], nan=0.0)
        chance += [np.bincount(pair, weights=own**power, minlength=len(shown)) for power in (1, 2)]
        low, high = min(low, float(rows.reward.min())), max(high, float(rows.reward.max()))
        total, square = total + float(rows.reward.sum()), square + float(rows.reward @ rows.reward)
        sure += int((rows.propensity >= 1.0).sum())
        least = min(least, float(rows.propensity.min()))
        for number, policy in enumerate(policies):
            probability = policy.of_logged(rows, given_above=log.given_above)
            weight = probability / rows.propensity
            histogram[number] += _binned(weight)
            largest[number] = max(largest[number], float(weight.max()))
            most_probable[number] = max(most_probable[number], float(probability.max()))
            per_policy[number].add(rows, weight**2 * (1.0 - rows.propensity))
    clusters = np.arange(n_items) if cluster_of is None else cluster_of
    counts = shown.reshape(n_cells, n_items)
    of_cluster = np.zeros((n_cells, int(clusters.max()) + 1))
    np.add.at(of_cluster.T, clusters, counts.T)
    n_shown = counts.sum(axis=1, keepdims=True)
    share = np.divide(of_cluster, n_shown, out=np.zeros_like(of_cluster), where=n_shown > 0)
    found = LogSurvey(
        values=sums.values(),
        shown=counts,
        mean=total / len(log),
        mean_square=square / len(log),
        low=low,
        high=high,
        sure=sure,
        least_propensity=least,
        unexplained=_unexplained(shown, *chance),
        cluster_of=clusters,
        cluster_share=share,
    )
    return found, [
        PolicySurvey(
            values=model.values(),
            levels=np.geomspace(1.0, max(top, 1.0), LEVELS + 1)[:-1],
            most_probable=float(probable),
            largest=float(top),
            bound=float(probable / least),
            histogram=counted,
        )
        for model, top, probable, counted in zip(per_policy, largest, most_probable, histogram, strict=True)
    ]


def _unexplained(n: F64, s: F64, square: F64) -> float:
    """Relative spread within pairs of cell and item, a mean over the rows."""
    there = n > 1
    if not there.any():
        return 0.0
    mean = s[there] / n[there]
    variance = np.maximum(square[there] / n[there] - mean**2, 0.0)
    relative = np.divide(np.sqrt(variance), mean, out=np.zeros_like(mean), where=mean > 0)
    return float((relative * n[there]).sum() / n[there].sum())


def _binned(weight: F64) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        place = np.where(weight > 0, np.floor((np.log10(weight) + 4.0) * 10.0) + 1, 0)
    place = np.clip(place, 0, len(BIN_EDGES) - 2).astype(np.int64)
    return np.bincount(place, minlength=len(BIN_EDGES) - 1).astype(np.int64)
