"""The same list for everyone: what most users have."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.held_out import Split


@dataclass(frozen=True, eq=False)
class PopularityScorer:
    """score(u, i) = number of different users with item i in training.

    Args:
        counts: float32 [n_items].
        params: nothing is chosen.
        fit_s: seconds spent on counting.
        name: short name.
    """

    counts: NDArray[np.float32]
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = float("nan")
    name: str = "popularity"

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """The counts, once a user: float32 [n, n_items]."""
        return np.broadcast_to(self.counts, (len(user_idx), len(self.counts)))


def fit_popularity(split: Split) -> PopularityScorer:
    """Count the training users of each item."""
    started = time.perf_counter()
    counts = split.train.matrix(binary=True).sum(axis=0)
    return PopularityScorer(np.asarray(counts, dtype=np.float32).ravel(), fit_s=time.perf_counter() - started)
