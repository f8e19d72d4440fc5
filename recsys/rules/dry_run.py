"""What each rule does to one answer, found by making the answer again with one rule more each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.request import Request
from recsys.recommender import BundleRecommender
from recsys.rules.book import RuleBook
from recsys.rules.model import ACTIONS, Rule, RuleSet
from recsys.rules.stages import Steering

SHOWN = 100
"""Items listed for one rule; more are counted."""
DIVERSITY = "diversity"


@dataclass(frozen=True)
class Move:
    """One item's place before and after, from 1; None: not among the candidates."""

    item_id: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Effect:
    """What one rule did.

    Args:
        rule: its name; "diversity" for that step.
        action: "keep", "hide", "boost", "bury", "cap", "pin" or "diversity".
        applies: whether it took part in this answer; where not, `why` says why not.
        why: "" where it applies.
        matched: items of the catalog it is about; for a cap or diversity, 0.
        n_moved: candidates it took away or moved, not counting those that moved up or down because of others.
        moves: the first of them.
    """

    rule: str
    action: str
    applies: bool
    why: str = ""
    matched: int = 0
    n_moved: int = 0
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class DryRun:
    """One answer with and without the rules.

    Args:
        before: ids of the items shown without any rule.
        after: ids of the items shown with all of them, without exploration.
        effects: one a rule, in the order of application, then those that do not apply.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    effects: tuple[Effect, ...] = field(default=())


def dry_run(recommender: BundleRecommender, request: Request, steering: Steering) -> DryRun:
    """Say what each rule does to an answer. Nothing is drawn, logged or stored.

    Args:
        recommender: makes the answers.
        request: the question; its `allowed` is what holds beside the rules.
        steering: the rules, and who asks; exploration is left out.
    """
    book = steering.book
    rules = [rule for action in ACTIONS for rule in book.rules.rules if rule.action == action]
    why = {rule.name: _why_not(rule, steering) for rule in rules}
    active = [rule for rule in rules if not why[rule.name]]
    steps: list[Rule | None] = [*active]
    if steering.diversity is not None and steering.diversity.share > 0:
        place = next((at for at, rule in enumerate(active) if rule.action in ("cap", "pin")), len(active))
        steps.insert(place, None)
    used: list[Rule] = []
    diverse = False
    first = before = _made(recommender, request, _with(steering, used, diverse=False))
    effects: list[Effect] = []
    for step in steps:
        if step is None:
            diverse = True
        else:
            used.append(step)
        after = _made(recommender, request, _with(steering, used, diverse=diverse))
        effects.append(_effect(step, before, after, book, steering))
        before = after
    effects += [Effect(rule.name, rule.action, applies=False, why=why[rule.name]) for rule in rules if why[rule.name]]
    ids, k = recommender.bundle.items, request.k
    return DryRun(
        tuple(ids[row] for row in first[:k].tolist()), tuple(ids[row] for row in before[:k].tolist()), tuple(effects)
    )


@dataclass(eq=False)
class _Watched:
    """The last step: remembers all candidates, not only those that fill the slots."""

    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    name: str = "watched"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        del moment
        self.rows = ranked.rows
        return ranked


def _made(recommender: BundleRecommender, request: Request, steering: Steering) -> NDArray[np.int64]:
    """Rows of all candidates, best first."""
    watched = _Watched()
    limited = replace(request, allowed=both(request.allowed, steering.allowed()))
    recommender.ranked(recommender.moment(limited), [*steering.stages(), watched])
    return watched.rows


def both(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """What two limits leave, bool [n_items]; None where neither limits."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _with(steering: Steering, rules: list[Rule], *, diverse: bool) -> Steering:
    """The same with these rules alone."""
    some = RuleSet.model_construct(rules=tuple(rules))
    return replace(
        steering,
        book=RuleBook(some, steering.book.facts, steering.book.compiled),
        diversity=steering.diversity if diverse else None,
        exploration=None,
    )


def _effect(
    rule: Rule | None, before: NDArray[np.int64], after: NDArray[np.int64], book: RuleBook, steering: Steering
) -> Effect:
    was: Mapping[int, int] = {row: place + 1 for place, row in enumerate(before.tolist())}
    is_now: Mapping[int, int] = {row: place + 1 for place, row in enumerate(after.tolist())}
    matched = 0
    about: NDArray[np.int64]
    if rule is None:
        about = before
    elif rule.action == "cap":
        about = np.array([row for row, place in was.items() if is_now.get(row, 0) > place], dtype=np.int64)
    elif rule.action == "pin":
        about = book.facts.items.idxs([rule.pin or ""])
        matched = int((about >= 0).sum())
    else:
        mask = book.compiled[rule.name].mask(steering.occasion)
        matched = int(mask.sum())
        about = np.flatnonzero(~mask if rule.action == "keep" else mask)
    ids = book.facts.items
    moves = [
        Move(ids[row], was.get(row), is_now.get(row))
        for row in about.tolist()
        if row >= 0 and was.get(row) != is_now.get(row)
    ]
    moves.sort(key=lambda move: (move.before or len(was) + 1, move.after or 0))
    return Effect(
        rule.name if rule else DIVERSITY,
        rule.action if rule else DIVERSITY,
        applies=True,
        matched=matched,
        n_moved=len(moves),
        moves=tuple(moves[:SHOWN]),
    )


def _why_not(rule: Rule, steering: Steering) -> str:
    when, occasion = rule.when, steering.occasion
    if not rule.enabled:
        return "it is not enabled"
    if not when.holds_at(occasion.now_s):
        return "its time has not come or is over"
    if when.scenarios and occasion.scenarios.isdisjoint(when.scenarios):
        return f"the scenario is none of {', '.join(when.scenarios)}"
    if when.segments and occasion.segments.isdisjoint(when.segments):
        return f"the segment is none of {', '.join(when.segments)}"
    return ""
