"""The floor: lists by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RandomScorer:
    """score(u, i) uniform in [0, 1), drawn under (seed, u): the same for a user whoever else is asked for.

    Args:
        n_items: number of items.
        seed: of the draws, >= 0.
        params: nothing is chosen.
        fit_s: nothing is fitted.
        name: short name.
    """

    n_items: int
    seed: int = 0
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = 0.0
    name: str = "random"

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Random numbers, float32 [n, n_items]."""
        scores = np.empty((len(user_idx), self.n_items), dtype=np.float32)
        for row, user in enumerate(user_idx.tolist()):
            np.random.default_rng((self.seed, user)).random(dtype=np.float32, out=scores[row])
        return scores
