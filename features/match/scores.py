"""How well each item's picture and words belong together; numpy only, so the service may read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SURE = 1e-6
"""Scores nearer to 0 or 1 are taken for no surer than this when evidence is added."""


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

    def beside(self, log_odds: NDArray[np.float64], *, prior: float) -> MatchScores:
        """The scores after further evidence, independent of what they were made from (Bayes' rule: log odds add).

        Args:
            log_odds: float64 [n_items]; how much likelier the evidence is where picture and words belong together, NaN
                where there is none, which leaves the score as it is.
            prior: where no score is known, in (0, 1).

        Raises:
            ValueError: the evidence has another number of items.
        """
        if log_odds.shape != self.score.shape:
            raise ValueError(f"evidence must have a row an item, {self.score.shape}, got {log_odds.shape}")
        before = np.where(self.known, self.score, prior).astype(np.float64).clip(SURE, 1 - SURE)
        after = 0.5 * (1 + np.tanh(0.5 * (np.log(before) - np.log1p(-before) + log_odds)))
        return MatchScores(np.where(np.isnan(log_odds), self.score, after).astype(np.float32))

    def worst(self, k: int) -> NDArray[np.int64]:
        """Rows of the k items that agree least, worst first (ties by row); fewer where fewer are known."""
        rows = np.flatnonzero(self.known)
        return rows[np.argsort(self.score[rows], kind="stable")][:k].astype(np.int64)
