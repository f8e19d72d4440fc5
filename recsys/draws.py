"""Lists drawn by Plackett-Luce where nothing but chance orders the pool: all slots of many lists at once.

Adding Gumbel noise to the logarithms of the weights and sorting draws whole lists (Yellott 1977). What is left of the
weights before each slot is summed from the end, so that small weights are not lost beside large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Draws:
    """Drawn lists with what their probabilities are made of.

    Args:
        weight: float64 [pool]; of each item.
        lists: int64 [draws, slots]; places in the pool.
        left: float64 [draws, slots]; weight of the items left before each slot.
        belief: float64 [draws, slots]; how probable the items above make it that the list was drawn by weight, and not
            with equal weights.
    """

    weight: NDArray[np.float64]
    lists: NDArray[np.int64]
    left: NDArray[np.float64]
    belief: NDArray[np.float64]

    @classmethod
    def of(cls, weight: NDArray[np.float64], slots: int, draws: int, epsilon: float, rng: np.random.Generator) -> Draws:
        """Draw.

        Args:
            weight: float64 [pool], > 0.
            slots: length of a list, at most the pool's.
            draws: how many lists.
            epsilon: share of lists drawn with equal weights.
            rng: whence the chance.
        """
        rows, pool = np.arange(draws)[:, None], len(weight)
        by_weight = rng.random((draws, 1)) >= epsilon
        noisy = rng.gumbel(size=(draws, pool)) + by_weight * np.log(weight)
        lists = np.argsort(-noisy, axis=1)[:, :slots]
        drawn = weight[lists]
        others = np.repeat(weight[None], draws, axis=0)
        others[rows, lists] = 0
        left = others.sum(axis=1, keepdims=True) + np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1]
        belief = np.ones(lists.shape)
        if epsilon > 0:
            odds = np.cumsum(np.log(drawn / left * (pool - np.arange(slots))), axis=1)
            before = np.concatenate([np.zeros((draws, 1)), odds[:, :-1]], axis=1)
            with np.errstate(divide="ignore", over="ignore"):  # epsilon 1 and long odds are no error
                belief = 1 / (1 + np.exp(np.log(epsilon) - np.log1p(-epsilon) - before))
        return cls(weight, lists, left, belief)

    def conditional(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability that each slot holds this item, given what the list holds above it: float64 [draws, slots].

        Args:
            items: int64 [slots] or [draws, slots].
        """
        draws, slots = self.lists.shape
        rows, at = np.arange(draws)[:, None], np.arange(slots)
        place = np.full((draws, len(self.weight)), slots)
        place[rows, self.lists] = at
        asked = np.broadcast_to(items, (draws, slots))
        equal = 1 / (len(self.weight) - at)
        mixed = self.belief * self.weight[asked] / self.left + (1 - self.belief) * equal
        return np.where(place[rows, asked] >= at, mixed, 0.0)
