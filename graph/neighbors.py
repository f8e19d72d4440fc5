"""The nearest rows of each row by cosine, as edges of a graph want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.vectors.nearest import nearest_others


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The rows most like each row, best first.

    Args:
        idx: int64 [n, k]; -1 where there are no more.
        score: float32 [n, k]; cosine, 0 where `idx` is -1.
    """

    idx: NDArray[np.int64]
    score: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.idx.shape != self.score.shape or self.idx.ndim != 2:
            raise ValueError(f"idx and score must be [n, k], got {self.idx.shape} and {self.score.shape}")

    def __len__(self) -> int:
        return len(self.idx)


def top_neighbors(vectors: NDArray[np.float32], k: int, *, mask: NDArray[np.bool_]) -> Neighbors:
    """Exact k nearest neighbors by cosine; no row is its own neighbor.

    Args:
        vectors: float32 [n, dim], of any length; a zero row has no direction and so no neighbors.
        k: neighbors a row.
        mask: bool [n]; rows that are False neither have neighbors nor are one.

    Returns:
        `Neighbors` with idx and score [n, k]. Of equal scores the lower row comes first.

    Raises:
        ValueError: k < 1, or shapes disagree.
    """
    if mask.shape != (len(vectors),):
        raise ValueError(f"vectors must be [n, dim] with a mask [n], got {vectors.shape} and {mask.shape}")
    found = nearest_others(vectors, k, mask=mask)
    return Neighbors(found.idx, np.where(found.idx >= 0, found.score, np.float32(0)))
