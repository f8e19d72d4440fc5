"""The nearest rows of each row by cosine: exact, in chunks, with ties settled by row number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 64_000_000
"""Memory for one chunk of scores."""


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
    n = len(vectors)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if vectors.ndim != 2 or mask.shape != (n,):
        raise ValueError(f"vectors must be [n, dim] with a mask [n], got {vectors.shape} and {mask.shape}")
    length = np.linalg.norm(vectors, axis=1)
    rows = np.flatnonzero(mask & (length > 0))
    unit = (vectors[rows] / length[rows, None]).astype(np.float32)
    idx = np.full((n, k), -1, dtype=np.int64)
    score = np.zeros((n, k), dtype=np.float32)
    width = min(k, len(rows) - 1)
    if width < 1:
        return Neighbors(idx, score)
    chunk = max(1, CHUNK_BYTES // (8 * len(rows)))
    for start in range(0, len(rows), chunk):
        cosine = unit[start : start + chunk] @ unit.T
        own = np.arange(len(cosine))
        cosine[own, start + own] = -np.inf
        best = _best_columns(cosine, width)
        idx[rows[start : start + chunk], :width] = rows[best]
        score[rows[start : start + chunk], :width] = cosine[own[:, None], best]
    return Neighbors(idx, score)


def _best_columns(scores: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    """Columns of the largest scores of each row, best first, the lower column first among equals: int64 [n, width]."""
    threshold = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]
    best = np.empty((len(scores), width), dtype=np.int64)
    for row, at_least in enumerate(scores >= threshold):
        columns = np.flatnonzero(at_least)
        best[row] = columns[np.argsort(-scores[row, columns], kind="stable")][:width]
    return best
