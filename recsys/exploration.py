"""Leaving some of an order to chance, with the probability of what came out.

A log of deterministic answers cannot tell how another order would have done: what was never shown was never clicked.
With Plackett-Luce (Luce 1959, Plackett 1975) each next place is drawn among the items left, with probability in
proportion to weight_i = exp(utility_i / temperature); all at once that is the k largest of utility_i / temperature +
Gumbel noise (Yellott 1977; Kool, van Hoof and Welling 2019). Here the utility of an item is the logarithm of 1 / place,
so that weight_i = place_i ^ (-1 / temperature), whatever the model's scores look like.

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
    marginal_draws: NonNegativeInt = Field(default=256, le=10_000)
    """Lists drawn to estimate the marginal probabilities of one answer; 0: they are not logged."""

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


def plackett_luce(utility: NDArray[np.float64], k: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lists of k items drawn by the Gumbel trick: int64 [draws, k].

    Args:
        utility: float64 [n]; logarithm of each weight; -inf for an item that is never drawn before another.
        k: items a list, at most n.
        draws: how many lists.
        rng: whence the noise.

    Raises:
        ValueError: k is not in [1, n].
    """
    if not 1 <= k <= len(utility):
        raise ValueError(f"k must be in [1, {len(utility)}], it is {k}")
    noisy = utility + rng.gumbel(size=(draws, len(utility)))
    if k < len(utility):
        best = np.argpartition(-noisy, k - 1, axis=1)[:, :k]
    else:
        best = np.broadcast_to(np.arange(len(utility)), noisy.shape)
    order = np.argsort(-np.take_along_axis(noisy, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1).astype(np.int64)


def conditional(utility: NDArray[np.float64], lists: NDArray[np.int64]) -> NDArray[np.float64]:
    """Plackett-Luce probability of each item given those above it: float64 [draws, k].

    Args:
        utility: float64 [n].
        lists: int64 [draws, k]; different items in each.
    """
    weight = np.exp(utility - utility.max())
    drawn = weight[lists]
    above = np.cumsum(drawn, axis=1) - drawn
    probability: NDArray[np.float64] = drawn / np.maximum(weight.sum() - above, np.finfo(np.float64).tiny)
    return probability
