"""Judge policies on one log: two passes, then every estimator, interval, comparison and verdict from the sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from features.section import Section
from recsys.bootstrap import interval
from recsys.replay import estimators
from recsys.replay.choice import slope
from recsys.replay.comparison import Comparison, compare
from recsys.replay.diagnostics import diagnose
from recsys.replay.estimators import Formula
from recsys.replay.groupings import STRETCHES, standard_groupings
from recsys.replay.headline import Clicks, headline, overreaches
from recsys.replay.intervals import Estimate, Resampled, evaluate
from recsys.replay.log import Log
from recsys.replay.monitoring import Moment, sequence
from recsys.replay.parts import Part, false_discovery, parts
from recsys.replay.policy import Policy
from recsys.replay.power import Power, power_of
from recsys.replay.result import Judged, Replay
from recsys.replay.spans import span_of
from recsys.replay.survey import LEVELS, LogSurvey, PolicySurvey, survey
from recsys.replay.tally import Grouping, Tally, Unit, tally
from recsys.replay.verdict import judge

F64 = NDArray[np.float64]


INDEPENDENT = ("independent", "sn_independent", "independent_dr")
UNEXPLAINED = 0.1
"""Relative spread of propensities within a kind of slot and item above which its cluster shares cannot be counted."""


class ReplayConfig(Section):
    """How a log is replayed."""

    bootstrap_samples: PositiveInt = 1000
    """Resamples behind each bootstrap interval."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Of all intervals."""
    unit: Unit = "request"
    """What is independent: requests, or users with all their requests."""
    clicks: Clicks = "above"
    """What a click in a list may depend on: "list", "above" or "slot", see `headline.Clicks`."""
    segments: bool = True
    """Estimate by position, group and time, too."""
    lift: float | None = Field(default=None, gt=0)
    """Tell what it would take to see a difference of this share of the other policy's value; None: not asked."""
    seed: int = 0
    """Of resamples and of rejection replay's draws."""


def replay(
    log: Log,
    policies: Sequence[Policy],
    *,
    against: str | None = None,
    config: ReplayConfig | None = None,
    cluster_of: NDArray[np.int64] | None = None,
    groupings: Sequence[Grouping] = (),
    reward: str = "click",
) -> Replay:
    """Judge policies on a log.

    Args:
        log: the log.
        policies: what is judged; names must differ.
        against: the name of the policy that all others are compared with.
        config: intervals and the like.
        cluster_of: int64 [items]; clusters of like items for marginalized weights, see `survey`.
        groupings: parts of the traffic beyond position, group and time.
        reward: what the reward is called.

    Raises:
        ValueError: the log is empty, two policies share a name, or `against` is none of them.
    """
    config = config or ReplayConfig()
    names = [policy.name for policy in policies]
    if not len(log):
        raise ValueError(f"log {log.name} has no rows")
    if len(set(names)) < len(names):
        raise ValueError(f"policies must have different names, got {names}")
    if against is not None and against not in names:
        raise ValueError(f"against must be one of {names}, got {against!r}")
    on_log, on_policies = survey(log, policies, cluster_of=cluster_of)
    timed, until = standard_groupings(log) if config.segments else ([], [])
    every = [*timed, *groupings]
    sums = tally(log, policies, on_log, on_policies, unit=config.unit, groupings=every, seed=config.seed)
    resampled = Resampled.of(sums, samples=config.bootstrap_samples, seed=config.seed)
    estimates = [
        _estimates(log, sums, number, resampled=resampled, on_log=on_log, on_policy=on_policy, config=config)
        for number, on_policy in enumerate(on_policies)
    ]
    mean_reward = float(sums.reward.sum() / sums.n.sum())
    judged = {}
    for number, name in enumerate(names):
        found, chosen = estimates[number]
        weights = (estimators.SINGLE | estimators.RANKED)[chosen["auto"]].weight
        diagnostics = diagnose(log, sums, number, weights=weights, on_log=on_log, on_policy=on_policies[number])
        over_time, by_part = _in_parts(sums, number, every, until, config) if every else ((), {})
        against_it = None
        if against is not None and against != name:
            other = estimates[names.index(against)][0]["auto"]
            against_it = compare(found["auto"], other, policy=against, estimator=chosen["auto"], level=config.level)
        judged[name] = Judged(
            estimators=found,
            chosen=chosen,
            diagnostics=diagnostics,
            verdict=judge(
                log,
                found["auto"],
                diagnostics,
                on_log=on_log,
                on_policy=on_policies[number],
                level=config.level,
                assumed=overreaches(chosen["auto"], config.clicks),
            ),
            against=against_it,
            power=_power(against_it, sums, resampled, config),
            guard_rails=_guard_rails(sums, number, diagnostics.coverage, diagnostics.evenness),
            over_time=over_time,
            parts=by_part,
        )
    return Replay(log.name, len(log), log.n_requests, reward, mean_reward, judged, log.notes)


def _estimates(
    log: Log,
    sums: Tally,
    policy: int,
    *,
    resampled: Resampled,
    on_log: LogSurvey,
    on_policy: PolicySurvey,
    config: ReplayConfig,
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """All estimators of one policy, and what the data chose."""

    def ask(name: str, formula: Formula, level: float = math.inf, note: str = "") -> Estimate:
        span = span_of(name, on_log, on_policy, level)
        return evaluate(formula, sums, policy, resampled, level=config.level, span=span, note=note)

    found = {name: ask(name, formula) for name, formula in estimators.SINGLE.items()}
    if log.is_ranked and log.given_above:
        remark = "slot by slot, what stands above being as it was logged"
        found = {name: replace(one, note=one.note or remark) for name, one in found.items()}
    if log.is_ranked:
        found |= {name: ask(name, formula) for name, formula in estimators.RANKED.items()}
        if log.given_above and log.marginal is None:
            reason = "needs the probability of an item in a slot overall; the log tells it given the slots above"
            found |= {name: Estimate(math.nan, note=reason) for name in INDEPENDENT}
    if on_log.unexplained > UNEXPLAINED:
        reason = "needs to know what the logging policy looked at; position and group do not explain its propensities"
        found |= {name: Estimate(math.nan, note=reason) for name in ("mips", "snmips")}
    chosen = {}
    for family, (whole, _) in estimators.FAMILIES.items():
        levels = on_policy.levels[::-1].tolist()
        ladder = [found[whole]]
        ladder += [
            ask(family, estimators.member(family, LEVELS - 1 - place), level, f"at a weight of {level:.4g}")
            for place, level in enumerate(levels)
        ]
        labels = ["no limit", *(f"{level:.4g}" for level in levels)]
        pick = max(slope(ladder), 0)
        found[family], chosen[family] = ladder[pick], labels[pick]
    for name in ("dm", "switch_dr", "dros"):
        found[name] = _as_unsure_as(found["dr"], found[name], config.level)
    chosen["auto"] = headline(sums, policy, found, config.clicks)
    found["auto"] = replace(found[chosen["auto"]], note=found[chosen["auto"]].note or f"chosen: {chosen['auto']}")
    return found, chosen


def _as_unsure_as(dr: Estimate, estimate: Estimate, level: float) -> Estimate:
    """The estimate with DR's error around it.

    Where a reward model stands in for weights, the rows' contributions know nothing of the model's own error. To first
    order that error is what DR's correction adds: the model's cells are means of the same residuals.
    """
    if not (math.isfinite(dr.value) and math.isfinite(estimate.value)):
        return estimate
    replicates = estimate.value + (dr.replicates - dr.value)
    low, high = interval(replicates, level=level)
    moved = {
        name: (estimate.value + (ends[0] - dr.value), estimate.value + (ends[1] - dr.value))
        for name, ends in dr.intervals.items()
    }
    return replace(
        estimate,
        low=low,
        high=high,
        standard_error=dr.standard_error,
        intervals={**moved, "bootstrap": (low, high)},
        replicates=replicates,
    )


def _power(against: Comparison | None, sums: Tally, resampled: Resampled, config: ReplayConfig) -> Power | None:
    """What it would take to see the lift that was asked for."""
    if against is None or config.lift is None:
        return None
    of_mean = resampled.reward / np.maximum(resampled.n, 1e-300)
    return power_of(
        n_rows=int(sums.n.sum()),
        value=against.other_value,
        gap_error=against.standard_error,
        value_error=float(of_mean.std(ddof=1)) if len(of_mean) > 1 else math.nan,
        lift=config.lift,
        level=config.level,
    )


def _in_parts(
    sums: Tally, policy: int, every: Sequence[Grouping], until: list[float], config: ReplayConfig
) -> tuple[tuple[Moment, ...], dict[str, tuple[Part, ...]]]:
    over_time: tuple[Moment, ...] = ()
    by_name = {}
    for grouping in every:
        of_policy = sums.parts[grouping.name][policy]
        if grouping.name == STRETCHES:
            rows = max(1, int(sums.n.sum()))
            over_time = sequence(of_policy, until, level=config.level, expected_rows=rows)
        by_name[grouping.name] = parts(grouping.labels, of_policy)
    q_values = iter(false_discovery([part.p_value for found in by_name.values() for part in found]))
    return over_time, {
        name: tuple(replace(part, q_value=next(q_values)) for part in found) for name, found in by_name.items()
    }


def _guard_rails(sums: Tally, policy: int, coverage: float, evenness: float) -> dict[str, Any]:
    n, weight = sums.n.sum(), sums.at(policy, sums.headline).sum()
    rails: dict[str, Any] = {"coverage": coverage, "evenness": evenness}
    for name, weighted in sums.others_weighted.items():
        rails[name] = {
            "value": float(weighted[policy].sum() / weight) if weight > 0 else math.nan,
            "logged": float(sums.others[name].sum() / n),
        }
    return rails
