"""What is known of each item by itself and moves with time: how it does where it is shown, since when it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.rules.facts import AGE_ATTRIBUTES, date_seconds

if TYPE_CHECKING:
    from features.catalog import Attributes
    from features.interactions import Interactions

DAY_S = 86_400.0
COLUMNS = ("ctr", "ctr_known", "since")
"""Log of the clicks an item gets over those an average item would get in its slots, and how much of that was seen and
not assumed (see `recsys/appeal/`); the day it came, in days since 1970."""

COUNTED = slice(0, 2)
"""Those that come of what is shown and clicked."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Standing:
    """What is known of all items at some moment; replaced as a whole while requests go on.

    Args:
        columns: float32 [n_items, len(COLUMNS)]; NaN where nothing is known.
        scenarios: the counted columns where an answer is for a scenario, float32 [n_items, 2] each; for others, and for
            answers of no scenario, `columns` hold.
    """

    columns: Floats
    scenarios: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of_nothing(cls, n_items: int) -> Standing:
        """Nothing is known of any item."""
        return cls(np.full((n_items, len(COLUMNS)), np.nan, dtype=np.float32))

    @classmethod
    def since(cls, came_s: NDArray[np.float64]) -> Standing:
        """Nothing is known but when each item came, UTC seconds, float64 [n_items]."""
        standing = cls.of_nothing(len(came_s))
        standing.columns[:, COLUMNS.index("since")] = came_s / DAY_S
        return standing

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def known(self) -> bool:
        """Whether anything is known of any item."""
        return bool(np.isfinite(self.columns).any())

    def at(self, rows: NDArray[np.int64], scenario: str = "") -> Floats:
        """The columns of some items for an answer to a scenario, float32 [n, len(COLUMNS)]."""
        found = self.columns.take(rows, axis=0)
        there = self.scenarios.get(scenario)
        if there is not None:
            found[:, COUNTED] = there.take(rows, axis=0)
        return found

    def counting(self, everywhere: Floats, scenarios: Mapping[str, Floats]) -> Standing:
        """With other counts, float32 [n_items, 2] each."""
        columns = np.array(self.columns)
        columns[:, COUNTED] = everywhere
        return Standing(columns, scenarios)

    def uncounted(self) -> Standing:
        """As if nobody had counted."""
        return self.counting(np.full((len(self), 2), np.nan, dtype=np.float32), {})

    def counting_as(self, other: Standing) -> Standing:
        """With the counts of another catalog, of the rows that both have."""
        n, ours = min(len(self), len(other)), self.columns[:, COUNTED]

        def over(theirs: Floats) -> Floats:
            return np.concatenate([theirs[:n], ours[n:]])

        return self.counting(
            over(other.columns[:, COUNTED]), {name: over(there) for name, there in other.scenarios.items()}
        )


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
