"""Replay a file of logs: read, split, make the policies, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import structlog

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.tables import find_table
from recsys.appeal.files import read_counters
from recsys.bundle import Bundle
from recsys.replay.bandits import BANDITS, play
from recsys.replay.bundle_policy import Answered, answer_log, bundle_folder
from recsys.replay.catalog_then import read_changes
from recsys.replay.choosing import learns, make_policy, parse, with_share
from recsys.replay.clusters import clusters_of
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.form import LogFormat
from recsys.replay.history import UserHistory, read_history, read_segments
from recsys.replay.known_then import KnownThen
from recsys.replay.log import Log
from recsys.replay.reading import read_logs
from recsys.replay.result import Judged, Replay
from recsys.replay.verdict import judge_kept
from recsys.rules.amended import trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.model import RuleSet

log = structlog.get_logger()


@dataclass(frozen=True)
class Asked:
    """What is to be replayed.

    Args:
        path: of the log.
        policies: names, see `choosing.HELP`, or folders with a bundle.
        against: the policy that others are compared with; None compares nothing.
        form: how to read the log.
        learn: share of each log, its earliest requests, from which policies that learn from clicks are made; all
            policies are judged on the rest. Not used where none learns.
        clusters: folder with a bundle whose item embeddings tell which items are alike, for marginalized weights; None
            for the first bundle among the policies, if any.
        history: table of what users did, for bundles; None for the `events.*` beside the impressions, if any.
        changes: table of what became of items when, for bundles; None for what a bundle says.
        users: table of what the shop says of its users, for rules that name segments; None for nothing.
        rules: file with a rule set that bundles answer by; None for none.
        ctr: folder of counters that bundles' rankers go by, as of each request; None for those a bundle was made with.
        config: of the intervals.
    """

    path: Path
    policies: tuple[str, ...]
    against: str | None = None
    form: LogFormat = field(default_factory=LogFormat)
    learn: float = 0.25
    clusters: Path | None = None
    history: Path | None = None
    changes: Path | None = None
    users: Path | None = None
    rules: Path | None = None
    ctr: Path | None = None
    config: ReplayConfig = field(default_factory=ReplayConfig)


def replay_logs(asked: Asked, *, quarantine: Quarantine) -> list[Replay]:
    """Replay every log of a file.

    Raises:
        InputError: the log or a policy cannot be used, or `learn` leaves nothing to learn from or to judge on.
    """
    return judge_logs(read_logs(asked.path, asked.form, quarantine=quarantine), asked, quarantine=quarantine)


def judge_logs(logs: Sequence[Log], asked: Asked, *, quarantine: Quarantine) -> list[Replay]:
    """Replay logs that were read from `asked.path`.

    Raises:
        InputError: a policy cannot be used, or `learn` leaves nothing to learn from or to judge on.
    """
    specs = list(dict.fromkeys([*asked.policies, *([asked.against] if asked.against else [])]))
    if not specs:
        raise InputError("name at least one --policy")
    if asked.against is not None and parse(asked.against)[0] in BANDITS:
        raise InputError(f"--against must be a policy that stays as it is, {asked.against!r} learns as it goes")
    history = _history(asked, quarantine)
    alike = _alike(asked)
    found = []
    for one in logs:
        log.info("log read", log=one.name, slots=len(one), requests=one.n_requests, items=len(one.items))
        earlier, judged = _parted(one, asked.learn) if any(map(learns, specs)) else (None, one)
        fixed = [spec for spec in specs if parse(spec)[0] not in BANDITS]
        made = [
            _policy(spec, judged, earlier=earlier, logs=logs, asked=asked, history=history, quarantine=quarantine)
            for spec in fixed
        ]
        result = replay(
            judged,
            [answered.policy for answered in made],
            against=asked.against,
            config=asked.config,
            cluster_of=None if alike is None else clusters_of(judged.items, alike),
            reward=_reward_name(asked.form),
        )
        policies = {
            spec: _completed(result.policies[spec], answered) for spec, answered in zip(fixed, made, strict=True)
        }
        policies |= {spec: _played(spec, judged, asked.config) for spec in specs if spec not in policies}
        found.append(replace(result, policies={spec: policies[spec] for spec in specs}))
    return found


def _policy(
    spec: str,
    judged: Log,
    *,
    earlier: Log | None,
    logs: Sequence[Log],
    asked: Asked,
    history: UserHistory | None,
    quarantine: Quarantine,
) -> Answered:
    name, temperature, share = parse(spec)
    folder = bundle_folder(Path(name))
    if folder is None:
        return Answered(make_policy(spec, judged, learned_from=earlier, others=logs))
    bundle = Bundle.open(folder, verify=False)
    changes = None if asked.changes is None else read_changes(asked.changes, bundle.items, quarantine=quarantine)
    rules = None if asked.rules is None else RuleSet.load(asked.rules)
    if rules is not None and (errors := RuleBook(rules, trained_facts(bundle)).review().errors):
        raise InputError(f"{asked.rules}: {errors[0]}")
    segments = {} if asked.users is None else read_segments(asked.users, quarantine=quarantine)
    counters = None if asked.ctr is None else read_counters(asked.ctr)
    known = KnownThen(history, changes, rules, segments, counters)
    answered = answer_log(spec, bundle, judged, temperature=temperature, known=known)
    return replace(answered, policy=with_share(spec, answered.policy, judged, share))


def _alike(asked: Asked) -> Bundle | None:
    """The bundle that tells which items are alike."""
    if asked.clusters is not None:
        folder = bundle_folder(asked.clusters)
        if folder is None:
            raise InputError(f"--clusters must be a folder with a bundle, {asked.clusters} has none")
        return Bundle.open(folder, verify=False)
    folders = (bundle_folder(Path(parse(spec)[0])) for spec in asked.policies)
    folder = next((folder for folder in folders if folder is not None), None)
    return None if folder is None else Bundle.open(folder, verify=False)


def _history(asked: Asked, quarantine: Quarantine) -> UserHistory | None:
    path = asked.history
    if path is None and asked.path.is_dir():
        path = find_table(asked.path, "events")
    wanted = any(bundle_folder(Path(parse(spec)[0])) for spec in asked.policies)
    return read_history(path, quarantine=quarantine) if path is not None and wanted else None


def _completed(judged: Judged, answered: Answered) -> Judged:
    rails = judged.guard_rails | ({"latency_ms": answered.latency_ms} if answered.latency_ms else {})
    return replace(judged, guard_rails=rails, notes=(*judged.notes, *answered.notes))


def _played(spec: str, judged: Log, config: ReplayConfig) -> Judged:
    """A bandit: only replay can tell, and its verdict goes by the slots that were kept."""
    try:
        played = play(spec, judged, seed=config.seed, samples=config.bootstrap_samples, level=config.level)
    except ValueError as error:
        raise InputError(f"policy {spec!r}: {error}") from error
    estimate = played.estimate
    return Judged({"replay": estimate, "auto": estimate}, {"auto": "replay"}, None, judge_kept(estimate, len(judged)))


def _parted(log: Log, learn: float) -> tuple[Log, Log]:
    """The earliest requests, and the others."""
    if not 0 < learn < 1:
        raise InputError(f"--learn must be between 0 and 1, got {learn:g}")
    cut = log.request_idx[0] + int(np.ceil(learn * log.n_requests))
    learned = int(np.searchsorted(log.request_idx, cut))
    if learned == len(log):
        raise InputError(
            f"log {log.name} has {log.n_requests} requests: too few to learn from some and judge on others"
        )
    rest = log.where(slice(learned, len(log)))
    note = f"policies that learn saw the first {learned / len(log):.0%} of the slots; all are judged on the rest"
    return log.where(slice(learned)), replace(rest, notes=(*log.notes, note))


def _reward_name(form: LogFormat) -> str:
    return form.reward if form.events is None else "/".join(sorted(form.attribution.event_types))
