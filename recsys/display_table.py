"""The part of a bundle that is shown, not multiplied: display data, availability, attribute values, categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import InputError
from features.vocabulary import Vocabulary

DISPLAY_FIELDS = ("item_id", "title", "description", "price", "available", "image", "attributes")
"""What every row of display.jsonl holds."""

CATEGORY_ATTRIBUTES = ("category", "categories", "product_category", "subcategory", "product_type", "genre", "genres")
"""Attributes taken for an item's category where none is named; the first one the shop has."""


@dataclass(frozen=True, eq=False)
class DisplayTable:
    """What `display.jsonl` says, gathered while it is written.

    Args:
        offsets: int64 [n_items + 1]; row i is the bytes [offsets[i], offsets[i + 1]), line feed included.
        available: bool [n_items].
        members: attribute name -> value -> rows of the items that have it, ascending.
    """

    offsets: NDArray[np.int64]
    available: NDArray[np.bool_]
    members: Mapping[str, Mapping[str, list[int]]]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many items share each attribute value."""
        return {
            name: {value: len(rows) for value, rows in sorted(by_value.items())}
            for name, by_value in sorted(self.members.items())
        }


def write_display(path: Path, items: Vocabulary, display: Iterable[Mapping[str, Any]]) -> DisplayTable:
    """Write one JSON line an item.

    Args:
        path: the file.
        items: whose display this is, in this order.
        display: mappings with the keys `DISPLAY_FIELDS`; attributes are {name: [values]}. A NaN price becomes null.

    Raises:
        ValueError: a row lacks a field, has another item's id, or rows are missing or left over.
    """
    offsets = [0]
    available: list[bool] = []
    members: dict[str, dict[str, list[int]]] = {}
    with path.open("wb") as file:
        for row, shown in enumerate(display):
            missing = [field for field in DISPLAY_FIELDS if field not in shown]
            if missing:
                raise ValueError(f"display must have {missing[0]!r}, row {row} has not")
            if row >= len(items) or shown["item_id"] != items[row]:
                wanted = repr(items[row]) if row < len(items) else f"the end after {len(items)} rows"
                raise ValueError(
                    f"display must follow the items' order: row {row} is {shown['item_id']!r}, not {wanted}"
                )
            line = orjson.dumps({field: shown[field] for field in DISPLAY_FIELDS}, option=orjson.OPT_SERIALIZE_NUMPY)
            file.write(line + b"\n")
            offsets.append(offsets[-1] + len(line) + 1)
            available.append(bool(shown["available"]))
            for name, values in shown["attributes"].items():
                by_value = members.setdefault(name, {})
                for value in dict.fromkeys(values):
                    by_value.setdefault(value, []).append(row)
    if len(available) != len(items):
        raise ValueError(f"display must have a row an item ({len(items)}), it has {len(available)}")
    return DisplayTable(np.array(offsets, dtype=np.int64), np.array(available, dtype=np.bool_), members)


def category_attribute(table: DisplayTable, named: str | None) -> str:
    """The attribute that says an item's category; "" where the shop has none.

    Raises:
        InputError: the named attribute does not exist.
    """
    if named is not None:
        if named not in table.members:
            raise InputError(f"category attribute must be one of {sorted(table.members)}, it is {named!r}")
        return named
    return next((name for name in CATEGORY_ATTRIBUTES if name in table.members), "")


def category_members(
    by_value: Mapping[str, list[int]], popularity: NDArray[np.float32]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int32]]:
    """Categories and, in CSR form, their items, most popular first (ties by row).

    Returns:
        names [n_categories], sorted; indptr int64 [n_categories + 1]; rows int32.
    """
    names = sorted(by_value)
    rows = [np.array(by_value[name], dtype=np.int32) for name in names]
    ordered = [members[np.argsort(-popularity[members], kind="stable")] for members in rows]
    indptr = np.concatenate([[0], np.cumsum([len(members) for members in rows])]).astype(np.int64)
    return names, indptr, np.concatenate([*ordered, np.zeros(0, dtype=np.int32)]).astype(np.int32)
