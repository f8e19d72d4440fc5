"""Replay a file of logs: read, split, make the policies, judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import structlog

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.replay.choosing import learns, make_policy
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.reading import LogFormat, read_logs
from recsys.replay.result import Replay

log = structlog.get_logger()


@dataclass(frozen=True)
class Asked:
    """What is to be replayed.

    Args:
        path: of the log.
        policies: names, see `choosing.HELP`.
        against: the policy that others are compared with; None compares nothing.
        form: how to read the log.
        learn: share of each log, its earliest requests, from which policies that learn from clicks are made; all
            policies are judged on the rest. Not used where none learns.
        config: of the intervals.
    """

    path: Path
    policies: tuple[str, ...]
    against: str | None = None
    form: LogFormat = field(default_factory=LogFormat)
    learn: float = 0.25
    config: ReplayConfig = field(default_factory=ReplayConfig)


def replay_logs(asked: Asked, *, quarantine: Quarantine) -> list[Replay]:
    """Replay every log of a file.

    Raises:
        InputError: the log or a policy cannot be used, or `learn` leaves nothing to learn from or to judge on.
    """
    logs = read_logs(asked.path, asked.form, quarantine=quarantine)
    specs = list(dict.fromkeys([*asked.policies, *([asked.against] if asked.against else [])]))
    if not specs:
        raise InputError("name at least one --policy")
    found = []
    for one in logs:
        log.info("log read", log=one.name, slots=len(one), requests=one.n_requests, items=len(one.items))
        earlier, judged = _parted(one, asked.learn) if any(map(learns, specs)) else (None, one)
        policies = [make_policy(spec, judged, learned_from=earlier, others=logs) for spec in specs]
        found.append(
            replay(judged, policies, against=asked.against, config=asked.config, reward=_reward_name(asked.form))
        )
    return found


def _parted(log: Log, learn: float) -> tuple[Log, Log]:
    """The earliest requests, and the others."""
    if not 0 < learn < 1:
        raise InputError(f"--learn must be between 0 and 1, got {learn:g}")
    cut = log.request_idx[0] + int(np.ceil(learn * log.n_requests))
    first = log.request_idx < cut
    if first.all():
        raise InputError(
            f"log {log.name} has {log.n_requests} requests: too few to learn from some and judge on others"
        )
    rest = log.where(~first)
    note = f"policies that learn saw the first {first.mean():.0%} of the slots; all are judged on the rest"
    return log.where(first), replace(rest, notes=(*log.notes, note))


def _reward_name(form: LogFormat) -> str:
    return form.reward if form.events is None else "/".join(sorted(form.attribution.event_types))
