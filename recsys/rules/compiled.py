"""An expression put to a catalog: which items it holds for.

A test has three answers: yes, no, and unknown. A missing price is not below 50, and it is not *not* below 50 either:
the tests of numbers (<, <=, >, >=, and = on a price) are unknown where the number is missing, and an expression selects
an item only where its answer is yes. To have a value is never unknown: an item without tags does not have the tag
"adult", so `not tag:adult` keeps it. `and`, `or`, `not` are Kleene's (1938).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.paths import PATH_SEPARATOR
from recsys.rules.facts import Facts
from recsys.rules.nodes import (
    USER,
    Among,
    And,
    Compare,
    Contains,
    Field,
    Has,
    Node,
    Not,
    Or,
    Same,
    Under,
    Value,
)
from recsys.rules.occasion import Occasion
from recsys.rules.syntax import parse

Mask = NDArray[np.bool_]
MINUTE_S = 60.0
"""Ages are told to the minute, so that they need not be worked out for each request."""
_SIGNS: dict[str, Callable[..., Mask]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True, eq=False)
class Truth:
    """The answer for each item: yes, no, or (neither) unknown; bool [n_items] both."""

    yes: Mask
    no: Mask

    @classmethod
    def known(cls, yes: Mask) -> Truth:
        """Yes or no."""
        return cls(yes, ~yes)


class Compiled:
    """One expression over one catalog; safe to share between threads.

    What does not depend on who asks is worked out once, ages once a minute.

    Args:
        text: the expression.
        facts: the catalog.

    Raises:
        ExpressionError: it breaks the grammar.
    """

    def __init__(self, text: str, facts: Facts) -> None:
        self.text = text
        self.node = parse(text)
        self._facts = facts
        self._needs: dict[int, frozenset[str]] = {}
        self._collect(self.node)
        self._fixed: dict[int, Truth] = {}
        self._of_minute: tuple[float, dict[int, Truth]] = (np.nan, {})

    @property
    def needs(self) -> frozenset[str]:
        """What it depends on beside the catalog: "time", "user", "page"."""
        return self._needs[id(self.node)]

    def mask(self, occasion: Occasion) -> Mask:
        """The items it holds for, bool [n_items]; not to be written to."""
        return self._truth(self.node, occasion).yes

    def _collect(self, node: Node) -> frozenset[str]:
        match node:
            case And(left, right) | Or(left, right):
                needs = self._collect(left) | self._collect(right)
            case Not(one):
                needs = self._collect(one)
            case Same():
                needs = frozenset({"page"})
            case Among(_, values):
                needs = frozenset({"user"} if any(value.text == USER for value in values) else ())
            case Compare(field):
                needs = frozenset(() if field.age_of is None else {"time"})
            case _:
                needs = frozenset()
        self._needs[id(node)] = needs
        return needs

    def _truth(self, node: Node, occasion: Occasion) -> Truth:
        needs = self._needs[id(node)]
        kept: dict[int, Truth] | None = None
        if not needs:
            kept = self._fixed
        elif needs == {"time"}:
            minute = occasion.now_s // MINUTE_S
            if self._of_minute[0] != minute:
                self._of_minute = (minute, {})
            kept = self._of_minute[1]
        if kept is None:
            return self._worked_out(node, occasion)
        found = kept.get(id(node))
        if found is None:
            found = kept[id(node)] = self._worked_out(node, occasion)
        return found

    def _worked_out(self, node: Node, occasion: Occasion) -> Truth:  # noqa: PLR0911 - one return a kind of node
        facts = self._facts
        match node:
            case And(left, right):
                one, other = self._truth(left, occasion), self._truth(right, occasion)
                return Truth(one.yes & other.yes, one.no | other.no)
            case Or(left, right):
                one, other = self._truth(left, occasion), self._truth(right, occasion)
                return Truth(one.yes | other.yes, one.no & other.no)
            case Not(one_node):
                one = self._truth(one_node, occasion)
                return Truth(one.no, one.yes)
            case Compare(field, sign, value):
                return _compared(facts, field, sign, value.number or 0.0, occasion)
            case Among(field, values):
                return _among(facts, field, values, occasion)
            case Under(field, value):
                path = value.text.casefold() + PATH_SEPARATOR
                lists = facts.values(field.name)
                below = [rows for name, rows in lists.items() if (name + PATH_SEPARATOR).startswith(path)]
                return Truth.known(_rows(facts, below))
            case Contains(field, value):
                return Truth.known(_containing(facts, field, value.text.casefold()))
            case Has(field):
                return Truth.known(_having(facts, field))
            case Same(field):
                return Truth.known(_same(facts, field, occasion.page))


def _rows(facts: Facts, lists: list[NDArray[np.int64]]) -> Mask:
    mask = np.zeros(len(facts), dtype=np.bool_)
    for rows in lists:
        mask[rows] = True
    return mask


def _compared(facts: Facts, field: Field, sign: str, bound: float, occasion: Occasion) -> Truth:
    holds = _SIGNS[sign]
    if field.age_of is None and field.name.casefold() == "price":
        known: Mask = ~np.isnan(facts.price)
        yes = holds(facts.price, bound) & known
        return Truth(yes, known & ~yes)
    if field.age_of is None:
        rows, numbers = facts.numbers(field.name)
    else:
        rows, born = facts.dates(field.age_of or facts.age_attribute)
        numbers = occasion.now_s // MINUTE_S * MINUTE_S - born
    known, yes = np.zeros(len(facts), dtype=np.bool_), np.zeros(len(facts), dtype=np.bool_)
    known[rows] = True
    yes[rows[holds(numbers, bound)]] = True  # of several values one suffices
    return Truth(yes, known & ~yes)


def _among(facts: Facts, field: Field, values: tuple[Value, ...], occasion: Occasion) -> Truth:
    name = field.name.casefold()
    if name == "price":
        known = ~np.isnan(facts.price)
        yes = np.isin(facts.price, [value.number for value in values if value.number is not None])
        return Truth(yes, known & ~yes)
    asked = (occasion.user_id if value.text == USER else value.text for value in values)
    said = [text for text in asked if text is not None]
    if name == "available":
        wanted = {value.casefold() for value in said}
        return Truth.known((facts.available & ("true" in wanted)) | (~facts.available & ("false" in wanted)))
    if name == "item_id":
        rows = facts.items.idxs(said)
        return Truth.known(_rows(facts, [rows[rows >= 0]]))
    if name in ("title", "description"):
        wanted = {value.casefold() for value in said}
        return Truth.known(np.fromiter((text in wanted for text in getattr(facts, name)), dtype=np.bool_))
    lists = facts.values(name)
    return Truth.known(_rows(facts, [lists[value.casefold()] for value in said if value.casefold() in lists]))


def _containing(facts: Facts, field: Field, part: str) -> Mask:
    name = field.name.casefold()
    if name in ("title", "description", "text"):
        return np.fromiter((part in text for text in getattr(facts, name)), dtype=np.bool_, count=len(facts))
    return _rows(facts, [rows for value, rows in facts.values(name).items() if part in value])


def _having(facts: Facts, field: Field) -> Mask:
    name = field.name.casefold()
    if field.age_of is not None:
        return _rows(facts, [facts.dates(field.age_of or facts.age_attribute)[0]])
    if name == "price":
        known: Mask = ~np.isnan(facts.price)
        return known
    if name in ("title", "description", "text"):
        return np.fromiter((bool(text.strip()) for text in getattr(facts, name)), dtype=np.bool_, count=len(facts))
    if name in ("item_id", "available"):
        return np.ones(len(facts), dtype=np.bool_)
    return _rows(facts, list(facts.values(name).values()))


def _same(facts: Facts, field: Field, page: int) -> Mask:
    """Items with a value of the page's item; none where there is no page. The page's own item is one of them."""
    if page < 0:
        return np.zeros(len(facts), dtype=np.bool_)
    groups = facts.groups(field.name)
    lists = facts.values(field.name)
    return _rows(facts, [lists[groups.names[code]] for code in groups.of(page)])
