"""When an experiment must stop: an arm does worse than the first one by more than it may.

An arm's rate is a count over its answers, and the ratio of two rates has, for counts that are not small, a logarithm
that is nearly normal with variance 1 / count_arm + 1 / count_first (half a count is added to each, so that none is
zero). A guard-rail is broken where the whole interval of the ratio lies beyond what is allowed. It is looked at again
and again, and one user's clicks come together, so its confidence is meant to be high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from pydantic import Field, PositiveInt

from features.section import Section

Metric = Literal["click_rate", "purchase_rate", "short_rate", "fallback_rate"]
COUNTED: Mapping[Metric, str] = {
    "click_rate": "clicks",
    "purchase_rate": "purchases",
    "short_rate": "short",
    "fallback_rate": "fallbacks",
}
"""The counter over the answers that each metric is."""
WANTED: tuple[Metric, ...] = ("click_rate", "purchase_rate")
"""Metrics of which more is better; of the others, less."""


class GuardRail(Section):
    """One limit, of every arm against the first."""

    metric: Metric = "click_rate"
    allowed: float = Field(default=0.1, ge=0, le=10)
    """How much worse an arm may be, as a share of the first arm's rate: 0.1 is ten percent."""
    min_answers: PositiveInt = 1_000
    """Answers each of the two arms must have given before anything is said."""
    confidence: float = Field(default=0.999, gt=0.5, lt=1)


@dataclass(frozen=True)
class Finding:
    """What a guard-rail says of an arm.

    Args:
        arm: its name.
        metric: the rate.
        ratio: the arm's rate over the first arm's; NaN before there are enough answers.
        low, high: the interval of the ratio.
        broken: whether the experiment must stop.
    """

    arm: str
    metric: Metric
    ratio: float
    low: float
    high: float
    broken: bool


def look(rail: GuardRail, arm: str, counted: Mapping[str, float], first: Mapping[str, float]) -> Finding:
    """Hold an arm's counters against the first arm's; `answers` and those of `COUNTED`, absent = 0."""
    name = COUNTED[rail.metric]
    answers, first_answers = counted.get("answers", 0), first.get("answers", 0)
    if min(answers, first_answers) < rail.min_answers:
        return Finding(arm, rail.metric, math.nan, math.nan, math.nan, broken=False)
    count, first_count = counted.get(name, 0) + 0.5, first.get(name, 0) + 0.5
    ratio = (count / answers) / (first_count / first_answers)
    wide = NormalDist().inv_cdf(rail.confidence) * math.sqrt(1 / count + 1 / first_count)
    low, high = ratio * math.exp(-wide), ratio * math.exp(wide)
    broken = high < 1 - rail.allowed if rail.metric in WANTED else low > 1 + rail.allowed
    return Finding(arm, rail.metric, ratio, low, high, broken)
