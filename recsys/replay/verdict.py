"""A plain word on an estimate: trustworthy, wide, or cannot be estimated from this log; and what it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from recsys.replay.diagnostics import Diagnostics
from recsys.replay.intervals import Estimate
from recsys.replay.log import Log
from recsys.replay.survey import LogSurvey, PolicySurvey

Label = Literal["trustworthy", "wide", "cannot be estimated from this log"]
CANNOT: Label = "cannot be estimated from this log"

PRECISE = 0.10
"""Half an interval, relative to the value, up to which an estimate is called trustworthy at best precision."""
FEWEST_EFFECTIVE = 100.0
"""Effective rows below which a normal or bootstrap interval means little."""
FEWEST_REWARDED = 5.0
"""Effective rows with a reward below which an estimate rests on luck: none at all looks like certainty."""
HEAVIEST = 0.1
"""Share of all weight that one row may carry."""
OFF = 0.05
"""How far the mean weight may be from 1, and how much may lack support."""
EXPLORE = 0.1
"""The exploration rate that is suggested."""


@dataclass(frozen=True)
class Verdict:
    """The word, why, and what would help.

    Args:
        label: the word.
        reasons: full sentences, the gravest first; empty where there is nothing to object.
        exploration_rate: share of slots to fill at random so that the policy could be judged; None where not needed.
        impressions: rows (at that rate) for an interval of ±10% of the value; None where unknown or not needed.
    """

    label: Label
    reasons: tuple[str, ...] = ()
    exploration_rate: float | None = None
    impressions: int | None = None


def judge(
    log: Log,
    estimate: Estimate,
    diagnostics: Diagnostics,
    *,
    on_log: LogSurvey,
    on_policy: PolicySurvey,
    level: float,
    assumed: str = "",
) -> Verdict:
    """Judge one policy's headline estimate.

    Args:
        log: the log.
        estimate: the headline.
        diagnostics: of the policy.
        on_log: gives the mean reward, which stands in for the value where that is undefined.
        on_policy: gives the policy's largest probability.
        level: of the interval.
        assumed: what the headline assumes though nobody granted it, as a sentence; "" for nothing.
    """
    broken = _broken(estimate, diagnostics, on_log)
    value = estimate.value if math.isfinite(estimate.value) and estimate.value > 0 else on_log.mean
    if broken:
        most_probable = on_policy.most_probable or 1.0
        needed = _impressions(log, diagnostics, value, most_probable=most_probable, level=level)
        return Verdict(CANNOT, tuple(broken), EXPLORE, needed)
    reasons = []
    half = (estimate.high - estimate.low) / 2
    if log.estimated:
        reasons.append(
            f"The propensities are estimates ({log.estimated}), so hidden reasons for what was shown go unseen."
        )
    if assumed:
        reasons.append(assumed)
    if not half <= PRECISE * abs(estimate.value):
        reasons.append(
            f"The interval is ±{_percent(half, estimate.value)} of the value; trustworthy is ±{PRECISE:.0%} or less."
        )
    if diagnostics.imbalance > 0.1:
        reasons.append(
            f"Weights change the mix of slots by {diagnostics.imbalance:.2f} standard deviations; above 0.10 the "
            "propensities deserve a look."
        )
    if not reasons:
        return Verdict("trustworthy")
    needed = None
    if half > PRECISE * abs(estimate.value) > 0:
        needed = math.ceil(len(log) * (half / (PRECISE * abs(estimate.value))) ** 2)
    return Verdict("wide", tuple(reasons), None, needed)


def _broken(estimate: Estimate, diagnostics: Diagnostics, on_log: LogSurvey) -> list[str]:
    """Why the policy cannot be judged on this log at all."""
    reasons = []
    gap = diagnostics.mean_weight - 1.0
    sure = diagnostics.sure_share
    if diagnostics.n_matched == 0:
        reasons.append("No logged slot holds what the policy would show there.")
    if diagnostics.unsupported_share > OFF:
        reasons.append(
            f"{diagnostics.unsupported_share:.0%} of what the policy would show was never shown in this log."
        )
    if gap < -OFF and gap < -4 * diagnostics.mean_weight_error and sure > 0.5:
        reasons.append(
            f"{sure:.0%} of the slots were filled without exploration (propensity 1): the log cannot tell what would "
            f"have happened in the {-gap:.0%} of them where the policy differs."
        )
    elif abs(gap) > OFF and abs(gap) > 4 * diagnostics.mean_weight_error:
        reasons.append(
            f"The mean weight is {diagnostics.mean_weight:.3f}, it must be 1: the propensities are wrong, or the "
            "policy shows what the log never does."
        )
    effective = diagnostics.effective_sample_size
    rewarded = effective * on_log.mean**2 / on_log.mean_square if on_log.mean_square > 0 else 0.0
    if diagnostics.n_matched and not effective >= FEWEST_EFFECTIVE:
        reasons.append(
            f"The log is worth {effective:.0f} rows to this policy; below {FEWEST_EFFECTIVE:.0f} no interval holds."
        )
    elif diagnostics.n_matched and not rewarded >= FEWEST_REWARDED:
        reasons.append(
            f"The log is worth {effective:,.0f} rows to this policy, about {rewarded:.1f} of them rewarded; below "
            f"{FEWEST_REWARDED:.0f} no interval holds."
        )
    if diagnostics.heaviest_share > HEAVIEST:
        reasons.append(f"One row carries {diagnostics.heaviest_share:.0%} of all weight.")
    if not math.isfinite(estimate.value) and not reasons:
        reasons.append(estimate.note or "The estimate is undefined.")
    elif math.isfinite(estimate.value) and estimate.low == estimate.high:
        reasons.append("The interval is a single point: the rows that count hold no reward to speak of.")
    return reasons


def _impressions(log: Log, diagnostics: Diagnostics, value: float, *, most_probable: float, level: float) -> int | None:
    """Rows needed where a share `EXPLORE` of the slots is filled uniformly at random, the rest as before.

    A slot where the policy agrees with the log has weight 1 / (1 - EXPLORE), another one at most the policy's largest
    probability times items / EXPLORE; the mean of the squared weighted reward is then the value times the mean weight.
    """
    if not value > 0:
        return None
    agree = min(1.0, diagnostics.n_matched / len(log)) if diagnostics.sure_share > 0.5 else 0.0
    mean_weight = agree / (1 - EXPLORE) + (1 - agree) * most_probable * len(log.items) / EXPLORE
    z = float(stats.norm.ppf((1 + level) / 2))
    return math.ceil(z**2 * mean_weight / (value * PRECISE**2))


def judge_kept(estimate: Estimate, n_rows: int) -> Verdict:
    """Judge a policy that only rejection replay can tell of, by the rows that it kept.

    Args:
        estimate: of replay.
        n_rows: rows of the log.
    """
    rewarded = estimate.value * estimate.n_matched if math.isfinite(estimate.value) else 0.0
    if estimate.n_matched < FEWEST_EFFECTIVE or rewarded < FEWEST_REWARDED:
        return Verdict(CANNOT, (f"Only {estimate.n_matched} rows were kept, {rewarded:.0f} of them rewarded.",))
    half = (estimate.high - estimate.low) / 2
    if half <= PRECISE * abs(estimate.value):
        return Verdict("trustworthy")
    needed = math.ceil(n_rows * (half / (PRECISE * abs(estimate.value))) ** 2)
    said = f"The interval is ±{_percent(half, estimate.value)} of the value; trustworthy is ±{PRECISE:.0%} or less."
    return Verdict("wide", (said,), None, needed)


def _percent(part: float, whole: float) -> str:
    return f"{part / abs(whole):.0%}" if whole else "∞"
