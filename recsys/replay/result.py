"""What a replay found, and its JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.replay.comparison import Comparison
from recsys.replay.diagnostics import Diagnostics
from recsys.replay.intervals import Estimate
from recsys.replay.monitoring import Moment
from recsys.replay.parts import Part
from recsys.replay.power import Power
from recsys.replay.verdict import Verdict


@dataclass(frozen=True, eq=False)
class Judged:
    """One policy on one log.

    Args:
        estimators: by name, as in `estimators.py`, and "auto", the choice among them.
        chosen: which estimator, and which level of each family, the data picked.
        diagnostics: None for a policy that only rejection replay can judge.
        verdict: on `auto`.
        against: comparison with the policy that was asked for, None for that one itself.
        guard_rails: further measures by name: other rewards, coverage, evenness, latency.
        over_time: the running estimate, with bounds that hold at every moment.
        parts: the estimate by position, group, time.
        power: what it would take to see a given lift over the policy compared with; None where not asked for.
        notes: about this policy.
    """

    estimators: dict[str, Estimate]
    chosen: dict[str, str]
    diagnostics: Diagnostics | None
    verdict: Verdict
    against: Comparison | None = None
    guard_rails: dict[str, Any] = field(default_factory=dict)
    over_time: tuple[Moment, ...] = ()
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    power: Power | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Replay:
    """One log and what was judged on it.

    Args:
        log: its name.
        n_rows: slots.
        n_requests: requests.
        reward: name of the reward column.
        mean_reward: of a slot as it was.
        policies: by name.
        notes: of the log.
    """

    log: str
    n_rows: int
    n_requests: int
    reward: str
    mean_reward: float
    policies: dict[str, Judged]
    notes: tuple[str, ...] = ()


def replay_json(replays: list[Replay], *, asked: dict[str, Any], quarantined: dict[str, int]) -> dict[str, Any]:
    """All logs as plain JSON values; undefined numbers are null.

    Args:
        replays: one a log.
        asked: what was asked for, to be kept with the answer.
        quarantined: refused rows by rule.
    """
    logs = {
        replay.log: {
            "impressions": replay.n_rows,
            "requests": replay.n_requests,
            "reward": replay.reward,
            "mean_reward": replay.mean_reward,
            "notes": replay.notes,
            "policies": {name: _judged(judged) for name, judged in replay.policies.items()},
        }
        for replay in replays
    }
    plain: dict[str, Any] = _plain({"logs": logs, "quarantined": quarantined, "asked": asked})
    return plain


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "estimators": {name: _estimate(estimate) for name, estimate in judged.estimators.items()},
        "chosen": judged.chosen,
        "diagnostics": None if judged.diagnostics is None else asdict(judged.diagnostics),
        "verdict": judged.verdict.label,
        "reasons": judged.verdict.reasons,
        "to_estimate": {
            "exploration_rate": judged.verdict.exploration_rate,
            "impressions": judged.verdict.impressions,
        },
        "against": None if judged.against is None else asdict(judged.against),
        "power": None if judged.power is None else asdict(judged.power),
        "guard_rails": judged.guard_rails,
        "over_time": [asdict(moment) for moment in judged.over_time],
        "segments": {name: [asdict(part) for part in parts] for name, parts in judged.parts.items()},
        "notes": judged.notes,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "standard_error": estimate.standard_error,
        "n_matched": estimate.n_matched,
        "effective_sample_size": estimate.effective_sample_size,
        "intervals": estimate.intervals,
        "note": estimate.note,
    }


def _plain(value: Any) -> Any:
    """Numbers that JSON has no word for become null, tuples lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
