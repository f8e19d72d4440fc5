"""How liked an item is: (likes + 1) / (likes + dislikes + 2), Laplace's rule of succession, the same for every user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.ctr.model import RatingModel, Task


@dataclass(frozen=True, eq=False)
class Popularity:
    """A chance an item.

    Args:
        chance: float64 [n_items].
    """

    chance: NDArray[np.float64]

    def probability(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float64]:
        """The item's, whoever asks."""
        del user_idx
        return self.chance[item_idx]


def _fit(task: Task) -> Popularity:
    n_items = len(task.train.items)
    liked = np.bincount(task.train.item_idx[task.train.label == 1], minlength=n_items)
    rated = np.bincount(task.train.item_idx, minlength=n_items)
    return Popularity((liked + 1) / (rated + 2))


MODEL = RatingModel("popularity", "how liked an item is, the same for every user", _fit)
