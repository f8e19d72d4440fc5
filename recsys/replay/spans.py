"""How far apart two rows' contributions to an estimator can be: what Hoeffding and Bernstein need to know."""

from __future__ import annotations

import math

from recsys.replay.survey import LogSurvey, PolicySurvey


def span_of(name: str, on_log: LogSurvey, on_policy: PolicySurvey, level: float = math.inf) -> float:
    """The range of one row's contribution; NaN for ratios and products, which are no means of bounded rows.

    Args:
        name: of the estimator or family.
        on_log: gives the range of rewards.
        on_policy: gives the bound of weights.
        level: of a family's member.
    """
    reward = max(on_log.high, 0.0) - min(on_log.low, 0.0)
    width = on_log.high - on_log.low
    bound = on_policy.bound
    spans = {
        "ips": bound * reward,
        "independent": bound * reward,
        "clipped_ips": min(level, bound) * reward,
        "dm": width,
        "dr": width * (1 + 2 * bound),
        "switch_dr": width * (1 + 2 * min(level, bound)),
        "dros": width * (1 + min(level, 2 * bound)),  # λw / (w² + λ) is at most √λ / 2, and λ is level²
    }
    return spans.get(name, math.nan)
