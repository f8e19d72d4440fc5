"""A rule set over one catalog: what it hides, moves, caps and pins for a request.

The order of operations is fixed, so that the order of writing never surprises:

    1. hard filters: `keep` and `hide`, and seen items by the seen policy; nothing below brings an item back
    2. `boost` and `bury`: candidate number p stands as if at p / factor; the factors of several rules multiply, and so
       does that of a seen item that may come again. Ties keep their order
    3. diversity, if the rule set has it, reorders the top
    4. slots are filled from the top: `pin`s stand where they are pinned, `cap`s are kept, exploration chooses

Filters take part before candidates are looked for, so that an answer is full while enough items pass them; they, and
they alone, can leave an answer short or empty. Caps give way before a slot stays empty, and a pin of a hidden item
falls away.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsys.rules.compiled import MINUTE_S, Compiled, Mask
from recsys.rules.facts import Facts, GroupsOf
from recsys.rules.holding import Holding, Holdings
from recsys.rules.model import Rule, RuleSet
from recsys.rules.occasion import Occasion
from recsys.rules.review import Review, review
from recsys.slots import Cap

_KEPT_MASKS, _KEPT_FACTORS = 64, 16
"""Arrays over all items that a book keeps, of a byte and of eight bytes an item."""


class RuleBook:
    """A compiled rule set; safe to share between threads.

    Args:
        rules: the set.
        facts: the catalog.
        compiled: expressions by rule that are compiled already, for this catalog.

    Raises:
        ValueError: a rule asks for texts, and the columns were read without.
    """

    def __init__(self, rules: RuleSet, facts: Facts, compiled: Mapping[str, Compiled] | None = None) -> None:
        if not facts.has_texts and rules.needs_texts:
            raise ValueError("rules ask for titles or descriptions, the columns of the catalog were read without")
        self.rules = rules
        self.facts = facts
        self._holdings = Holdings(rules.rules)
        known = compiled or {}
        self.compiled = {
            rule.name: known.get(rule.name) or Compiled(rule.expression, facts)
            for rule in rules.rules
            if rule.expression is not None
        }
        self._factors: dict[tuple[str, ...], NDArray[np.float64]] = {}
        self._masks: dict[tuple[float, tuple[str, ...]], Mask] = {}

    def review(self) -> Review:
        """What is wrong with the rules on this catalog, each named."""
        found = Review()
        for rule in self.rules.rules:
            one = Review()
            if rule.name in self.compiled:
                one = review(self.compiled[rule.name].node, self.facts)
            elif rule.cap is not None and not self.facts.values(rule.cap):
                known = ", ".join(self.facts.attributes) or "none"
                one.errors.append(f"must be an attribute of this catalog ({known}), got {rule.cap!r}")
            elif rule.pin is not None and rule.pin not in self.facts.items:
                one.warnings.append(f"the catalog has no item {rule.pin!r}")
            found.errors += [f"rule {rule.name!r}, {rule.action}: {said}" for said in one.errors]
            found.warnings += [f"rule {rule.name!r}, {rule.action}: {said}" for said in one.warnings]
        return found

    def warm(self) -> None:
        """Work out what does not depend on the request, so that the first one need not."""
        occasion = Occasion(0.0)
        for compiled in self.compiled.values():
            compiled.mask(occasion)
        for rule in self.rules.rules:
            if rule.enabled and rule.cap is not None:
                _ = self.facts.groups(rule.cap, rule.depth).only

    def holding(self, occasion: Occasion) -> Holding:
        """The rules that apply."""
        return self._holdings.at(occasion)

    def allowed(self, occasion: Occasion) -> Mask | None:
        """What the hard filters leave, bool [n_items], not to be written to; None: everything."""
        active = self.holding(occasion).all("keep", "hide")
        if not active:
            return None
        depends = [rule for rule in active if self.compiled[rule.name].needs & {"user", "page"}]
        fixed = self._fixed([rule for rule in active if rule not in depends], occasion)
        for rule in depends:
            mask = self.passes(rule, occasion)
            fixed = mask if fixed is None else fixed & mask
        return fixed

    def about(self, row: int, occasion: Occasion) -> list[str]:
        """Names of the rules that apply and hide this item, boost or bury it, or pin it."""
        holding = self.holding(occasion)
        hiding = [rule for rule in holding.all("keep", "hide") if not self.passes(rule, occasion)[row]]
        moving = [rule for rule in holding.all("boost", "bury") if self.compiled[rule.name].mask(occasion)[row]]
        pinning = [name for pinned, name in self.pins(occasion).values() if pinned == row]
        return [*(rule.name for rule in (*hiding, *moving)), *pinning]

    def passes(self, rule: Rule, occasion: Occasion) -> Mask:
        """What one hard filter leaves, bool [n_items]."""
        holds = self.compiled[rule.name].mask(occasion)
        return holds if rule.action == "keep" else ~holds

    def factor(self, rows: NDArray[np.int64], occasion: Occasion) -> NDArray[np.float64] | None:
        """What the place of each candidate is divided by, float64 [n]; None where no rule boosts or buries."""
        steps = self.holding(occasion).all("boost", "bury")
        if not steps:
            return None
        every = self.factors(occasion)
        if every is None:
            return _product([self.factor_of(rule, rows, occasion) for rule in steps])
        return every.take(rows)

    def factors(self, occasion: Occasion) -> NDArray[np.float64] | None:
        """What the place of each item of the catalog is divided by, float64 [n_items], the same array for as long as it
        is kept; None where no rule boosts or buries, or one goes by more of the request than whom it is for and where.
        """
        steps = self.holding(occasion).all("boost", "bury")
        if not steps or any(self.compiled[rule.name].needs for rule in steps):
            return None
        key = tuple(rule.name for rule in steps)  # scenarios and segments are many, what they change is not
        every = self._factors.get(key)
        if every is None:  # of all items at once: what does not depend on the request is one look from then on
            rows_of_all = np.arange(len(self.facts))
            every = _product([self.factor_of(rule, rows_of_all, occasion) for rule in steps])
            if len(self._factors) >= _KEPT_FACTORS:
                self._factors.clear()
            self._factors[key] = every
        return every

    def factor_of(self, rule: Rule, rows: NDArray[np.int64], occasion: Occasion) -> NDArray[np.float64]:
        """What one rule divides the place of each candidate by, float64 [n]."""
        by = rule.factor if rule.action == "boost" else 1 / rule.factor
        return np.where(self.compiled[rule.name].mask(occasion).take(rows), by, 1.0)

    def caps(self, rows: NDArray[np.int64], occasion: Occasion) -> list[Cap]:
        """The caps on these candidates."""
        return [self.cap_of(rule, rows) for rule in self.holding(occasion).all("cap")]

    def cap_of(self, rule: Rule, rows: NDArray[np.int64]) -> Cap:
        """One rule's cap on these candidates."""
        return Cap(GroupsOf(self.facts.groups(rule.cap or "", rule.depth), rows), rule.at_most)

    def pins(self, occasion: Occasion) -> dict[int, tuple[int, str]]:
        """Pinned items: slot, from 0 → row and rule. Of two rules for a slot or an item the first one has it."""
        rules = self.holding(occasion).of.get("pin", ())
        placed: dict[int, tuple[int, str]] = {}
        for rule in rules:
            row = self.facts.items.idx(rule.pin or "") if rule.pin in self.facts.items else -1
            if row >= 0 and rule.slot - 1 not in placed and row not in (one for one, _ in placed.values()):
                placed[rule.slot - 1] = (row, rule.name)
        return placed

    def _fixed(self, rules: list[Rule], occasion: Occasion) -> Mask | None:
        """What filters leave that do not depend on who asks; the same ones are put together once."""
        if not rules:
            return None
        timed = any("time" in self.compiled[rule.name].needs for rule in rules)
        key = (occasion.now_s // MINUTE_S if timed else 0.0, tuple(rule.name for rule in rules))
        found = self._masks.get(key)
        if found is None:
            found = np.logical_and.reduce([self.passes(rule, occasion) for rule in rules])
            if len(self._masks) >= _KEPT_MASKS:
                self._masks.clear()
            self._masks[key] = found
        return found


def _product(factors: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.multiply.reduce(factors)
    return product
