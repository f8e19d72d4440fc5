"""A condition on a replay that a bundle must meet before it is published: `replay(ctr) >= logged - 1%`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.tables import find_table
from recsys.replay.attribution import AttributionRules
from recsys.replay.engine import ReplayConfig
from recsys.replay.form import LogFormat
from recsys.replay.log import Log
from recsys.replay.reading import read_logs
from recsys.replay.result import Judged
from recsys.replay.run import Asked, judge_logs
from recsys.replay.verdict import CANNOT

_SPEC = re.compile(
    r"\s*replay\((?P<metric>[\w-]+)\)(?P<surely>\.low)?\s*>=\s*(?P<policy>[^\s%]+)"
    r"(?:\s*(?P<sign>[+-])\s*(?P<percent>[0-9]+(?:\.[0-9]+)?)\s*%)?\s*"
)
CLICKS = "ctr"


@dataclass(frozen=True)
class Gate:
    """A parsed condition.

    Args:
        said: as it was written.
        metric: "ctr", or the name of a reward column or event type.
        surely: whether the lower end of the interval must meet it, not only the value.
        policy: what the bundle is held against, such as "logged".
        lift: the least relative difference, such as -0.01.
    """

    said: str
    metric: str
    surely: bool
    policy: str
    lift: float


@dataclass(frozen=True)
class Outcome:
    """Whether a gate opens, and why not, or by how much: a sentence a log."""

    passed: bool
    said: tuple[str, ...]


def parse_gate(said: str) -> Gate:
    """Read a condition.

    Raises:
        InputError: it is none.
    """
    match = _SPEC.fullmatch(said)
    if match is None:
        raise InputError(
            f"--gate must look like 'replay(ctr) >= logged - 1%' (or replay(ctr).low, to be sure of it), got {said!r}"
        )
    percent = float(match["percent"] or 0.0) * (-1 if match["sign"] == "-" else 1)
    return Gate(said.strip(), match["metric"], match["surely"] is not None, match["policy"], percent / 100)


def hold_against(
    gate: Gate, bundle: Path, log: Path, *, quarantine: Quarantine, ctr: Path | None = None, seed: int = 0
) -> Outcome:
    """Replay a bundle on logged traffic and look whether it meets the condition.

    Of each campaign the largest log counts: what older versions wrote is not mixed with it. Searches are left out, as
    their words are not logged. A bundle that cannot be judged does not pass.

    Args:
        gate: the condition.
        bundle: the bundle's folder.
        log: file or folder, as for `recsys replay`.
        quarantine: takes refused rows of the log.
        ctr: folder of counters that the bundle's ranker goes by, as of each request; None for those it was made with.
        seed: of the replay.

    Raises:
        InputError: the log cannot be used, or holds nothing but searches.
    """
    asked = Asked(
        path=log,
        policies=(str(bundle),),
        against=gate.policy,
        form=_form(gate.metric, log),
        ctr=ctr,
        # both sides are measured alike: the difference needs little noise more than a value that holds for any reader
        config=ReplayConfig(seed=seed, segments=False, clicks="slot"),
    )
    chosen = _largest(read_logs(log, asked.form, quarantine=quarantine))
    if not chosen:
        raise InputError(f"{log} holds only searches: their words are not logged, so they cannot be replayed")
    outcomes = [
        _one(gate, replay.log, replay.policies[str(bundle)])
        for replay in judge_logs(chosen, asked, quarantine=quarantine)
    ]
    return Outcome(all(outcome.passed for outcome in outcomes), tuple(line for one in outcomes for line in one.said))


def _one(gate: Gate, log: str, judged: Judged) -> Outcome:
    against = judged.against
    if judged.verdict.label == CANNOT or against is None or not math.isfinite(against.lift):
        why = judged.verdict.reasons[0] if judged.verdict.reasons else f"{gate.policy} earned nothing to compare with."
        told = f"{log}: {CANNOT}. {why}"
        if judged.verdict.exploration_rate is not None and judged.verdict.impressions is not None:
            told += (
                f" {judged.verdict.impressions:,} slots with {judged.verdict.exploration_rate:.0%} of them filled at "
                "random would do."
            )
        return Outcome(False, (told,))
    found = against.lift_low if gate.surely else against.lift
    told = (
        f"{log}: {judged.estimators['auto'].value:.5f} against {against.other_value:.5f} of {gate.policy}, "
        f"{against.lift:+.1%} ({against.lift_low:+.1%} to {against.lift_high:+.1%}), "
        f"better with a probability of {against.probability_better:.0%}"
    )
    return Outcome(found >= gate.lift, (told,))


def _form(metric: str, log: Path) -> LogFormat:
    """Which reward a metric is: clicks, events of a type where the log's folder has events, else a column."""
    if metric == CLICKS:
        return LogFormat()
    events = find_table(log, "events") if log.is_dir() else None
    if events is not None:
        return LogFormat(events=events, attribution=AttributionRules(event_types=(metric,)))
    return LogFormat(reward=metric)


def _largest(logs: Iterable[Log]) -> list[Log]:
    """The largest log of each campaign that can be asked again."""
    found: dict[str, Log] = {}
    for log in logs:
        campaign = log.name.rpartition("/")[2] if "/" in log.name else ""
        if campaign != "search" and (campaign not in found or len(found[campaign]) < len(log)):
            found[campaign] = log
    return list(found.values())
