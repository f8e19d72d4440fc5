"""What is wrong with an expression beside its grammar: fields and values that the catalog does not have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from features.paths import PATH_SEPARATOR
from recsys.rules.facts import AGE_ATTRIBUTES, Facts
from recsys.rules.nodes import USER, Among, And, Compare, Contains, Field, Has, Node, Not, Or, Same, Under, Value

COLUMNS = ("price", "available", "item_id", "title", "description", "text", "age")
"""Fields of every catalog; any other is an attribute."""
_TEXTS = ("title", "description", "text")


@dataclass
class Review:
    """What was found.

    Args:
        errors: an expression with one is refused.
        warnings: it does what it says, but perhaps not what was meant.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def review(node: Node, facts: Facts) -> Review:
    """Look at every test of an expression."""
    found = Review()
    _look(node, facts, found)
    return found


def _look(node: Node, facts: Facts, found: Review) -> None:
    match node:
        case And(left, right) | Or(left, right):
            _look(left, facts, found)
            _look(right, facts, found)
        case Not(one):
            _look(one, facts, found)
        case Compare(of):
            _look_at_number(of, facts, found)
        case Among(of, values):
            _look_at_values(of, values, facts, found)
        case Under(of, value):
            if _is_attribute(of, facts, found, "under") and not any(
                (name + PATH_SEPARATOR).startswith(value.text.casefold() + PATH_SEPARATOR)
                for name in facts.values(of.name)
            ):
                found.warnings.append(_nobody(of, value))
        case Contains(of, _):
            if of.name.casefold() not in _TEXTS:
                _is_attribute(of, facts, found, "contains")
        case Has(of):
            if of.age_of is not None:
                _look_at_number(of, facts, found)
            elif of.name.casefold() not in COLUMNS:
                _is_attribute(of, facts, found, "has")
        case Same(of):
            _is_attribute(of, facts, found, "same")


def _look_at_number(of: Field, facts: Facts, found: Review) -> None:
    if of.age_of is not None:
        if of.age_of == "" and not facts.age_attribute:
            listed = ", ".join(AGE_ATTRIBUTES)
            found.errors.append(f"{_place(of)}: age needs an attribute that holds a date ({listed}), or age(attribute)")
        elif (
            of.age_of and _is_attribute(of, facts, found, "age", name=of.age_of) and not len(facts.dates(of.age_of)[0])
        ):
            found.errors.append(f"{_place(of)}: {of.age_of!r} holds no dates")
    elif of.name.casefold() == "price":
        if np.isnan(facts.price).all():
            found.warnings.append(f"{_place(of)}: no item has a price")
    elif _is_attribute(of, facts, found, "a comparison of numbers") and not len(facts.numbers(of.name)[0]):
        found.errors.append(f"{_place(of)}: {of.name!r} holds no numbers, only texts")


def _look_at_values(of: Field, values: tuple[Value, ...], facts: Facts, found: Review) -> None:
    name = of.name.casefold()
    if of.age_of is not None or name == "text":
        found.errors.append(f"{_place(of)}: {of.name!r} has no single values: use <, <=, >, >= or contains")
    elif name == "price":
        found.errors += [f"{_place(of)}: a price is a number, got {one.text!r}" for one in values if one.number is None]
    elif name == "available":
        wrong = [one.text for one in values if one.text.casefold() not in ("true", "false")]
        found.errors += [f"{_place(of)}: available is true or false, got {text!r}" for text in wrong]
    elif name == "item_id":
        unknown = [one for one in values if one.text != USER and one.text not in facts.items]
        found.warnings += [_nobody(of, one) for one in unknown]
    elif name not in ("title", "description") and _is_attribute(of, facts, found, "a value"):
        lists = facts.values(name)
        found.warnings += [_nobody(of, one) for one in values if one.text != USER and one.text.casefold() not in lists]


def _is_attribute(of: Field, facts: Facts, found: Review, test: str, *, name: str | None = None) -> bool:
    asked = of.name if name is None else name
    if asked.casefold() in COLUMNS and not facts.values(asked):
        found.errors.append(f"{_place(of)}: {asked!r} cannot be asked for {test}")
        return False
    if not facts.values(asked):
        known = ", ".join((*COLUMNS, *facts.attributes))
        found.errors.append(f"{_place(of)}: a field must be one of this catalog ({known}), got {asked!r}")
        return False
    return True


def _nobody(of: Field, value: Value) -> str:
    return f"character {value.place + 1}: no item has {value.text!r} as {of.name}"


def _place(of: Field) -> str:
    return f"character {of.place + 1}"
