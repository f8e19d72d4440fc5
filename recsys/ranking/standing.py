"""What is known of each item by itself and moves with time: how it does where it is shown, since when it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.rules.facts import AGE_ATTRIBUTES, date_seconds

if TYPE_CHECKING:
    from features.catalog import Attributes
    from features.interactions import Interactions

DAY_S = 86_400.0
STANDING = ("ctr", "ctr_known", "since")
"""Columns: log of the clicks an item gets over those an average item would get in its slots, and how much of that was
seen and not assumed (see `recsys/appeal/`); the day it came, in days since 1970."""

COUNTED = slice(0, 2)
"""Those that come of what is shown and clicked."""


class Standing:
    """The columns of all items, which are replaced as a whole while requests go on.

    Args:
        columns: float32 [n_items, len(STANDING)]; NaN where nothing is known.
    """

    def __init__(self, columns: NDArray[np.float32]) -> None:
        self.columns = columns

    def count_as(self, other: Standing) -> None:
        """Take over how items do where they are shown, of the rows that both have."""
        n = min(len(self.columns), len(other.columns))
        columns = self.columns.copy()
        columns[:n, COUNTED] = other.columns[:n, COUNTED]
        self.columns = columns


def unknown(n_items: int) -> NDArray[np.float32]:
    """The columns of items of which nothing is known."""
    return np.full((n_items, len(STANDING)), np.nan, dtype=np.float32)


def dated(attributes: Mapping[str, Sequence[str]]) -> float:
    """When an item came by its own attributes, UTC seconds: the earliest date of the first of `AGE_ATTRIBUTES` that has
    one; NaN where none has.
    """
    folded = {name.casefold(): values for name, values in attributes.items()}
    for name in AGE_ATTRIBUTES:
        dates = [seconds for value in folded.get(name, ()) if (seconds := date_seconds(value)) is not None]
        if dates:
            return min(dates)
    return float("nan")


def came(n_items: int, attributes: Attributes, events: Interactions) -> NDArray[np.float64]:
    """When each item came, UTC seconds, float64 [n_items]: as `dated`, else its first event; NaN where unknown.

    Args:
        n_items: items.
        attributes: of the items.
        events: those that may be known.
    """
    first = np.full(n_items, np.inf)
    if events.timestamp is not None:
        np.minimum.at(first, events.item_idx, np.nan_to_num(events.timestamp, nan=np.inf))
    found = np.where(np.isfinite(first), first, np.nan)
    dates: dict[int, dict[str, list[str]]] = {}
    telling = np.isin([name.casefold() for name in attributes.name.tolist()], AGE_ATTRIBUTES)
    for place in np.flatnonzero(telling).tolist():
        of_item = dates.setdefault(int(attributes.row_idx[place]), {})
        of_item.setdefault(attributes.name[place], []).append(attributes.value[place])
    for row, said in dates.items():
        when = dated(said)
        if np.isfinite(when):
            found[row] = when
    return found


def known(columns: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The columns, None where they know nothing of any item."""
    return columns if np.isfinite(columns).any() else None


def standing_since(came_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """Columns in which nothing is known but when each item came, UTC seconds."""
    columns = unknown(len(came_s))
    columns[:, STANDING.index("since")] = came_s / DAY_S
    return columns
