"""Policies by name, as on the command line: what `random`, `popularity~0.1` or `log:bts` mean on a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from recsys.replay.log import Log
from recsys.replay.plackett_luce import PlackettLuce
from recsys.replay.policy import Logged, Mixture, Policy, TablePolicy, shown_shares
from recsys.replay.reward_model import RewardSums

F64 = NDArray[np.float64]
HELP = """\
logged: the policy that wrote the log.  random: every item alike.  popularity: the most clicked items, slot by slot.
best: the item of the highest expected reward in each kind of slot.  log:NAME: the policy that wrote another log of the
same file, such as log:bts.  Behind a name, @T draws lists by exp(score / T) instead of taking the best, and ~E fills a
share E of the slots at random: popularity@0.5, best~0.1.  A folder with a bundle: what it answers at each request's
moment.  linucb, thompson: bandits that learn as they are replayed."""

_SPEC = re.compile(r"(?P<name>[^@~]+)(?:@(?P<temperature>[0-9.]+))?(?:~(?P<epsilon>[0-9.]+))?")
LEARN = ("popularity", "best")


def learns(spec: str) -> bool:
    """Whether a policy is learned from clicks, which must then not be those that it is judged on."""
    return parse(spec)[0] in LEARN


def with_share(spec: str, policy: Policy, log: Log, share: float | None) -> Policy:
    """The policy, or one that fills a share of the slots at random beside it."""
    if share is None:
        return policy
    uniform = TablePolicy("random", np.full((log.n_cells, len(log.items)), 1.0 / len(log.items)))
    return Mixture(spec, policy, uniform, share)


def make_policy(spec: str, log: Log, *, learned_from: Log | None, others: Sequence[Log]) -> Policy:
    """The policy that a name stands for.

    Args:
        spec: see `HELP`.
        log: what it is judged on.
        learned_from: earlier traffic over the same items, for those that learn.
        others: every log of the file, for `log:NAME`.

    Raises:
        InputError: the name is unknown, or a number in it is out of range.
    """
    name, temperature, epsilon = parse(spec)
    if name == "logged":
        policy: Policy = Logged(log, spec)
    elif name == "random":
        policy = TablePolicy(spec, np.full((log.n_cells, len(log.items)), 1.0 / len(log.items)))
    elif name.startswith("log:"):
        policy = TablePolicy(spec, shown_shares(_other(name.removeprefix("log:"), log, others)))
    elif name in LEARN:
        if learned_from is None or not len(learned_from):
            raise InputError(f"policy {spec!r} learns from earlier traffic, and there is none: see --learn")
        scores = _scores(name, learned_from)
        policy = _by_scores(spec, scores, log, temperature)
    else:
        raise InputError(f"unknown policy {spec!r}. {HELP}")
    if temperature is not None and name not in LEARN:
        raise InputError(f"policy {spec!r}: only {' and '.join(LEARN)} have scores for a temperature")
    return with_share(spec, policy, log, epsilon)


def parse(spec: str) -> tuple[str, float | None, float | None]:
    """Name, temperature and share of random slots of a policy.

    Raises:
        InputError: it is none.
    """
    match = _SPEC.fullmatch(spec)
    try:
        if match is None:
            raise ValueError
        temperature = None if match["temperature"] is None else float(match["temperature"])
        epsilon = None if match["epsilon"] is None else float(match["epsilon"])
    except ValueError:
        raise InputError(f"a policy must look like NAME, NAME@TEMPERATURE or NAME~SHARE, got {spec!r}") from None
    if temperature is not None and not temperature > 0:
        raise InputError(f"policy {spec!r}: a temperature must be > 0")
    if epsilon is not None and not 0 <= epsilon <= 1:
        raise InputError(f"policy {spec!r}: a share must be in [0, 1]")
    return match["name"], temperature, epsilon


def _other(name: str, log: Log, others: Sequence[Log]) -> Log:
    """The log of another policy, in the same campaign where there are several."""
    campaign = log.name.partition("/")[2]
    for wanted in (name, f"{name}/{campaign}"):
        for other in others:
            if other.name == wanted and other.items == log.items and other.n_cells == log.n_cells:
                return other
    raise InputError(f"policy log:{name}: no log of that name shares items with {log.name}; there are "
                     f"{', '.join(other.name for other in others)}")  # fmt: skip


def _scores(name: str, log: Log) -> F64:
    """Log expected reward, float64 [cells, items]; for popularity the same in all cells."""
    sums = RewardSums(log.n_cells, len(log.items))
    for rows in log.chunks():
        sums.add(rows)
    rate = sums.values().mean(axis=0)
    if name == "popularity":
        rate = np.broadcast_to(rate.mean(axis=0), rate.shape)
    scores: F64 = np.log(np.maximum(rate, 1e-12))
    return scores


def _by_scores(spec: str, scores: F64, log: Log, temperature: float | None) -> Policy:
    """The best items in order, one a slot; with a temperature, drawn."""
    n_groups = len(log.groups)
    if temperature is not None and log.is_ranked:
        of_group = scores.reshape(-1, n_groups, scores.shape[1]).mean(axis=0)
        return PlackettLuce(spec, of_group / temperature, log.n_positions)
    if temperature is not None:
        chance = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
        return TablePolicy(spec, chance / chance.sum(axis=1, keepdims=True))
    table = np.zeros_like(scores)
    taken = np.zeros((n_groups, scores.shape[1]), dtype=np.bool_)
    for position in range(log.n_positions):
        for group in range(n_groups):
            cell = position * n_groups + group
            best = int(np.where(taken[group], -np.inf, scores[cell]).argmax())
            table[cell, best] = 1.0
            taken[group, best] = log.n_positions <= scores.shape[1]
    return TablePolicy(spec, table)
