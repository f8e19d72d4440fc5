"""Rows of an import: one that breaks a rule is refused by name, and the others are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler

from serving.problems import broken_rules
from serving.schemas import Shape

Row = TypeVar("Row", bound=BaseModel)


class RefusedOut(Shape):
    """A row of an import that was not taken; the others were. Whose row it is, the shape of its list says."""

    index: int
    rule: str
    """The first one that it breaks."""
    place: str
    value: str
    """What is there instead; its first 80 characters."""


@dataclass(frozen=True)
class Refused:
    """A row that cannot be taken.

    Args:
        said: the row as it came.
        error: what is wrong with it.
    """

    said: object
    error: ValidationError

    def told(self, index: int, name: str, list_name: str) -> dict[str, object]:
        """The row's place in its list, its id (null where it has none), and the first rule it breaks, where, and by
        which value.

        Args:
            index: of the row.
            name: of the field that holds the id.
            list_name: of the list in the body.
        """
        outside_id = self.said.get(name) if isinstance(self.said, Mapping) else None
        first = broken_rules(self.error, f"body.{list_name}.{index}")[0]
        return {"index": index, name: outside_id if isinstance(outside_id, str) else None, **first}


def or_refused(row: object, validate: ValidatorFunctionWrapHandler) -> Any:
    """The row, or why it is refused; for `pydantic.WrapValidator` on the rows of a list."""
    try:
        return validate(row)
    except ValidationError as error:
        return Refused(row, error)


def parted(rows: Sequence[Row]) -> tuple[dict[int, Row], dict[int, Refused]]:
    """The rows that can be taken, and those that cannot, each by its place in the list."""
    found: Iterator[tuple[int, Row | Refused]] = enumerate(cast("Sequence[Row | Refused]", rows))
    good: dict[int, Row] = {}
    bad: dict[int, Refused] = {}
    for index, row in found:
        if isinstance(row, Refused):
            bad[index] = row
        else:
            good[index] = row
    return good, bad
