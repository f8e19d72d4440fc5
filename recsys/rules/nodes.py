"""The parts of a filter expression, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Comparison = Literal["<", "<=", ">", ">="]
USER = "@user"


@dataclass(frozen=True)
class Field:
    """A column of the catalog.

    Args:
        name: as written; "price", "available", "item_id", "title", "description", "text" and "age" are every
            catalog's, any other is an attribute.
        place: where it stands.
        age_of: for an age, the attribute that holds the date; "" for the shop's own choice. None: no age.
    """

    name: str
    place: int
    age_of: str | None = None


@dataclass(frozen=True)
class Value:
    """What a column is compared with.

    Args:
        text: as written; "@user" for the id of the one who asks.
        number: as a number, in seconds where a unit was given; None where it is none.
        place: where it stands.
    """

    text: str
    number: float | None
    place: int


@dataclass(frozen=True)
class Compare:
    """The column's number is on this side of the value."""

    field: Field
    sign: Comparison
    value: Value


@dataclass(frozen=True)
class Among:
    """The column has one of the values."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Under:
    """The column's path begins with this one."""

    field: Field
    value: Value


@dataclass(frozen=True)
class Contains:
    """The text holds this one."""

    field: Field
    value: Value


@dataclass(frozen=True)
class Has:
    """The column has any value at all."""

    field: Field


@dataclass(frozen=True)
class Same:
    """The column has a value in common with the item of the page."""

    field: Field


@dataclass(frozen=True)
class Not:
    """The opposite."""

    one: Node


@dataclass(frozen=True)
class And:
    """Both hold."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Or:
    """One or both hold."""

    left: Node
    right: Node


Node = Compare | Among | Under | Contains | Has | Same | Not | And | Or


def fields_of(node: Node) -> Iterator[Field]:
    """Every column that an expression asks for."""
    match node:
        case And(left, right) | Or(left, right):
            yield from fields_of(left)
            yield from fields_of(right)
        case Not(one):
            yield from fields_of(one)
        case _:
            yield node.field


def reads_texts(node: Node) -> bool:
    """Whether an expression asks for the items' titles or descriptions."""
    return any(field.name.casefold() in ("title", "description", "text") for field in fields_of(node))
