"""How well each item's picture and words belong together; numpy only, so the service may read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MatchScores:
    """One agreement an item.

    Args:
        score: float32 [n_items] in [0, 1]; the probability that picture and words belong together, NaN where
            a modality is missing or the shop is too small to tell.

    Raises:
        ValueError: a score lies outside [0, 1].
    """

    score: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.score.ndim != 1:
            raise ValueError(f"score must be [n_items], got shape {self.score.shape}")
        wrong = np.flatnonzero((self.score < 0) | (self.score > 1))
        if len(wrong):
            raise ValueError(f"score must be in [0, 1], item {wrong[0]} has {self.score[wrong[0]]}")

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def unknown(cls, n_items: int) -> MatchScores:
        """Nothing can be said of any item."""
        return cls(np.full(n_items, np.nan, dtype=np.float32))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Mask, bool [n_items]; True where a score is known."""
        return ~np.isnan(self.score)

    def worst(self, k: int) -> NDArray[np.int64]:
        """Rows of the k items that agree least, worst first (ties by row); fewer where fewer are known."""
        rows = np.flatnonzero(self.known)
        return rows[np.argsort(self.score[rows], kind="stable")][:k].astype(np.int64)
