"""Leaving some of an order to chance, with the probability of what came out.

A log of deterministic answers cannot tell how another order would have done: what was never shown was never clicked.
With Plackett-Luce (Luce 1959, Plackett 1975) each next place is drawn among the items left, with probability in
proportion to weight_i = exp(utility_i / temperature). Here the utility of an item is the logarithm of 1 / place, so
weight_i = place_i ^ (-1 / temperature), whatever the model's scores look like.

With probability epsilon the whole list is drawn with equal weights instead. Two probabilities belong to a slot:

    conditional   of this item here, given the items above it. Exact. Their product is the probability of the list.
    marginal      of this item here, over all lists that could have come out. Of the first slot exact as well; below it
                  the mean of the conditional probability over drawn beginnings of the list, which is without bias and
                  has far less variance than counting (Rao-Blackwell); NaN where no drawn beginning leads there.

`recsys/slots.py` draws under caps and pins; both probabilities take these into account.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from features.section import Section


class ExplorationConfig(Section):
    """How much of an order is left to chance."""

    temperature: float = Field(default=0.0, ge=0, le=10)
    """0 keeps the order; at 1 the second item comes first half as often as the first."""
    epsilon: float = Field(default=0.0, ge=0, le=1)
    """Share of lists that are drawn with equal weights."""
    pool: PositiveInt = Field(default=50, le=1_000)
    """Candidates from the top that take part."""
    marginal_draws: NonNegativeInt = Field(default=64, le=10_000)
    """Lists drawn to estimate the marginal probabilities of one answer; 0: they are not logged. With 64 half of the
    estimates are within 4% of the truth, with 256 within 2%."""

    @property
    def off(self) -> bool:
        """Whether nothing is left to chance."""
        return self.temperature == 0 and self.epsilon == 0


COLDEST = 0.01
"""A lower temperature keeps the order: its weights would differ by more than a number can hold."""


def place_weights(n: int, temperature: float) -> NDArray[np.float64]:
    """Plackett-Luce weight of each place, 1 for the first: float64 [n]; all on the first where nothing is warm."""
    places = np.arange(1, n + 1, dtype=np.float64)
    return places ** (-1 / temperature) if temperature >= COLDEST else (places == 1).astype(np.float64)
