"""Attributes of listings as classes: "category 1", "category 2", "color", and so on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.catalog import Attributes

PATH = " > "
MOST_VALUES = 300
"""An attribute with more values names things rather than kinds."""
LEAST_SHARE = 0.2
"""Share of the listings that must have a value."""


@dataclass(frozen=True, eq=False)
class Label:
    """One attribute as classes.

    Args:
        name: the attribute; a path has one a level: "category 1" is the top.
        values: the classes.
        of: int64 [n_items]; the class of each item, -1 where it has none or several.
    """

    name: str
    values: tuple[str, ...]
    of: NDArray[np.int64]

    @property
    def share(self) -> NDArray[np.float64]:
        """How much of the labeled items has each class, [values]."""
        count = np.bincount(self.of[self.of >= 0], minlength=len(self.values))
        return np.asarray(count / max(count.sum(), 1), dtype=np.float64)

    def weights(self, strength: float) -> NDArray[np.float32]:
        """Of the classes in a loss: share^-strength, scaled to a mean of 1 over listings; 0 for unseen classes."""
        share = self.share
        raw = np.zeros_like(share)
        raw[share > 0] = share[share > 0] ** -strength
        return (raw / max(float(share @ raw), 1e-12)).astype(np.float32)


def labels_of(attributes: Attributes, n_items: int, *, known: NDArray[np.bool_] | None = None) -> tuple[Label, ...]:
    """Every attribute that has between 2 and `MOST_VALUES` values and is known of enough listings.

    Args:
        attributes: of a catalog.
        n_items: number of items.
        known: bool [n_items]; the items whose values may be learned from; by default all.
    """
    known = np.ones(n_items, dtype=bool) if known is None else known
    by_level: dict[str, list[tuple[int, str]]] = {}
    for name in attributes.names():
        facts = attributes.only(name)
        depth = [value.count(PATH) for value in facts.value.tolist()]
        several = max(depth, default=0) > 0
        for row, value, level in zip(facts.row_idx.tolist(), facts.value.tolist(), depth, strict=True):
            by_level.setdefault(f"{name} {level + 1}" if several else name, []).append((row, value))
    labels = []
    for name, found in by_level.items():
        per_row = Counter(row for row, _ in found)
        single = {row: value for row, value in found if per_row[row] == 1}
        values = tuple(sorted({value for row, value in single.items() if known[row]}))
        if not 2 <= len(values) <= MOST_VALUES or sum(known[row] for row in single) < LEAST_SHARE * known.sum():
            continue
        number = {value: i for i, value in enumerate(values)}
        of = np.full(n_items, -1, dtype=np.int64)
        for row, value in single.items():
            of[row] = number.get(value, -1)
        labels.append(Label(name, values, of))
    return tuple(labels)


def drawing_weights(label: Label | None, rows: NDArray[np.int64], strength: float) -> NDArray[np.float64] | None:
    """Chance of each row to be drawn: its class's share^-strength, adding up to 1; None where all are drawn alike.

    A strength between 0 and 1 draws rare classes more often than they come (over-sampling) and frequent ones less often
    (under-sampling).
    """
    if label is None or strength == 0:
        return None
    count = np.bincount(label.of[rows] + 1, minlength=len(label.values) + 1)
    weight = np.asarray(count[label.of[rows] + 1], dtype=np.float64) ** -strength
    return np.asarray(weight / weight.sum(), dtype=np.float64)
