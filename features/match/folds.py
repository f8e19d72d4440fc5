"""Which fold a listing belongs to: decided by its content alone, so a saved model knows what it has learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 63
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Knuth's multiplicative hash: neighboring codes go to unrelated folds."""


@dataclass(frozen=True, eq=False)
class FoldRule:
    """Signs of random projections, hashed (Charikar, 2002).

    Rounding does not move a listing, and listings that are all but identical fall into one fold, where one is not
    learned when the other is judged.

    Args:
        projection: float32 [d_text + d_image, BITS].
        offset: float32 [BITS]; what each projection gives for the average listing.
        folds: how many.
    """

    projection: NDArray[np.float32]
    offset: NDArray[np.float32]
    folds: int

    @classmethod
    def of(cls, text: NDArray[np.float32], image: NDArray[np.float32], *, folds: int, seed: int) -> FoldRule:
        """From a shop's pairs, float32 [n, d_text] and [n, d_image]."""
        rng = np.random.default_rng(seed)
        projection = rng.normal(size=(text.shape[1] + image.shape[1], BITS)).astype(np.float32)
        center = np.concatenate([text.mean(axis=0), image.mean(axis=0)])
        return cls(projection, center @ projection, folds)

    def __call__(self, text: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.int64]:
        """Fold of each pair, int64 [n] in [0, folds)."""
        signs = np.concatenate([text, image], axis=1) @ self.projection > self.offset
        code = signs.astype(np.uint64) @ (np.uint64(1) << np.arange(BITS, dtype=np.uint64))
        return ((code * _SPREAD >> np.uint64(40)) % np.uint64(self.folds)).astype(np.int64)
