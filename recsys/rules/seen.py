"""What happens to an item that the user has already seen or bought.

never      it is not shown again
decay      it is hidden at first and comes back: after the half-life it stands as if its place were twice as far
           down, and later nearer and nearer to where it would stand unseen. Its place is divided by 1 - 2^(-age /
           half-life).
replenish  it is not shown for so many days, and then as if it had never been bought
allow      it is shown as if unseen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, model_validator

from features.section import Section

DAY_S = 86_400.0
HIDDEN_BELOW = 0.05
"""A seen item whose factor is smaller is not shown at all."""


class Again(Section):
    """When an item may come again."""

    policy: Literal["never", "decay", "replenish", "allow"] = "never"
    days: PositiveFloat | None = None
    """The half-life of "decay", the wait of "replenish"."""

    @model_validator(mode="after")
    def _with_days(self) -> Again:
        if (self.days is not None) != (self.policy in ("decay", "replenish")):
            raise ValueError(
                f'days belongs to "decay" and "replenish" and must be given there, policy is {self.policy!r}'
            )
        return self

    def factor(self, age_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a place is divided by, in [0, 1]; 0 = not shown. float64 [n].

        Args:
            age_s: float64 [n]; seconds since the item was last seen or bought; one in the future counts as 0.
        """
        if self.policy == "allow":
            return np.ones(len(age_s))
        if self.policy == "never":
            return np.zeros(len(age_s))
        wait_s = (self.days or 0.0) * DAY_S
        if self.policy == "replenish":
            return (age_s >= wait_s).astype(np.float64)
        factor = 1 - 0.5 ** (np.maximum(age_s, 0.0) / wait_s)
        return np.where(factor < HIDDEN_BELOW, 0.0, factor)


@dataclass(frozen=True)
class Known:
    """What a user has had to do with, sorted.

    Args:
        hidden: items not to be shown now.
        factors: items that may come again → what their place is divided by, in (0, 1].
    """

    hidden: frozenset[str] = frozenset()
    factors: Mapping[str, float] = field(default_factory=dict)


class SeenPolicy(Section):
    """What happens to items the user has had to do with."""

    viewed: Again = Again()
    """Items the user looked at and did not buy."""
    bought: Again = Again()
    """Items the user bought, looked at or not."""
    trained: Literal["never", "allow"] = "never"
    """Items the model was trained on as this user's, of which nobody knows how long ago that was."""

    @property
    def final(self) -> bool:
        """Whether nothing that was seen or bought is shown again."""
        return self.viewed.policy == self.bought.policy == "never"

    def sort(self, seen: Mapping[str, float], bought: Mapping[str, float], now_s: float) -> Known:
        """Which items are hidden now, and which may come again.

        Args:
            seen: items the user had to do with, bought or not, and when last, UTC seconds.
            bought: those bought, and when last.
            now_s: UTC seconds.
        """
        if self.final:
            return Known(frozenset({*seen, *bought}))
        hidden: list[str] = []
        factors: dict[str, float] = {}
        viewed = {item_id: at for item_id, at in seen.items() if item_id not in bought}
        for again, times in ((self.viewed, viewed), (self.bought, bought)):
            if again.policy == "never":
                hidden += times
                continue
            ages = now_s - np.fromiter(times.values(), dtype=np.float64, count=len(times))
            for item_id, factor in zip(times, again.factor(ages).tolist(), strict=True):
                if factor > 0:
                    factors[item_id] = factor
                else:
                    hidden.append(item_id)
        return Known(frozenset(hidden), factors)
