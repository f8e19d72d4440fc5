"""Which rules of a set hold for a request: worked out once for all requests that are alike to every rule."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from recsys.rules.model import Action, Rule
from recsys.rules.occasion import Occasion

KEPT = 256
"""Kinds of requests that are remembered."""


@dataclass(frozen=True, eq=False)
class Holding:
    """The rules that hold.

    Args:
        of: by what they do, in the order of the set.
    """

    of: Mapping[Action, Sequence[Rule]]

    def all(self, *actions: Action) -> list[Rule]:
        """Those that do one of these."""
        return [rule for action in actions for rule in self.of.get(action, ())]

    def any(self, *actions: Action) -> bool:
        """Whether one of them does one of these."""
        return any(self.of.get(action) for action in actions)


class Holdings:
    """What holds when, and for whom; safe to share between threads.

    Args:
        rules: of one set.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [rule for rule in rules if rule.enabled]
        ends = {at for rule in self._rules for at in (rule.when.begins_s, rule.when.ends_s) if isfinite(at)}
        self._turns = sorted(ends)
        self._kept: dict[tuple[frozenset[str], frozenset[str], int], Holding] = {}

    def at(self, occasion: Occasion) -> Holding:
        """The rules that hold for a request; between two turns, those of a scenario and of segments stay the same."""
        key = (occasion.scenarios, occasion.segments, bisect_right(self._turns, occasion.now_s))
        found = self._kept.get(key)
        if found is None:
            of: dict[Action, list[Rule]] = {}
            for rule in self._rules:
                if rule.when.holds(occasion):
                    of.setdefault(rule.action, []).append(rule)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            found = self._kept[key] = Holding(of)
        return found
