"""What is known of one attribute: the values, and which items have which."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.catalog import Catalog


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of one attribute.

    Args:
        name: the attribute.
        values: the values that may be filled.
        share: float64 [n_items, n_values]; an item's values share 1, a row is 0 where none of `values` is known.
        known: bool [n_items]; items that have a value, though it may be none of `values`.
    """

    name: str
    values: tuple[str, ...]
    share: NDArray[np.float64]
    known: NDArray[np.bool_]


def known_labels(
    catalog: Catalog, name: str, *, level: int | None = None, values: tuple[str, ...] = (), min_count: int = 2
) -> Labels:
    """Read an attribute's labels.

    Args:
        catalog: the items.
        name: the attribute.
        level: for paths, how many steps are kept ("Apparel > Topwear" has two); None keeps the longest of each item.
        values: what may be filled; by default the values that at least `min_count` items have.
        min_count: see `AttributeConfig`.
    """
    facts = catalog.attributes.only(name)
    of_item: dict[int, list[str]] = {}
    for row, value in zip(facts.row_idx.tolist(), facts.value.tolist(), strict=True):
        of_item.setdefault(row, []).append(value)
    for row, found in of_item.items():
        of_item[row] = _at_level(found, level)
    counted = Counter(value for found in of_item.values() for value in found)
    kept = values or tuple(sorted(value for value, count in counted.items() if count >= min_count))
    column = {value: place for place, value in enumerate(kept)}
    share, known = np.zeros((len(catalog), len(kept))), np.zeros(len(catalog), dtype=bool)
    for row, found in of_item.items():
        known[row] = bool(found)
        places = [column[value] for value in found if value in column]
        share[row, places] = 1 / max(len(places), 1)
    return Labels(name, kept, share, known)


def _at_level(values: list[str], level: int | None) -> list[str]:
    """The values that are no beginning of another one; those of so many steps, where a level is given."""
    if level is not None:
        return [value for value in values if value.count(" > ") == level - 1]
    return [value for value in values if not any(other.startswith(f"{value} > ") for other in values)]
