"""The nearest rows of many: exact where that is quick, else among the rows of the nearest cells (faiss)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.vectors.nearest import Nearest, nearest_others

EXACT = 50_000
"""Up to so many rows all are compared."""
CELLS_ASKED = 16


def nearest_in_cells(vectors: NDArray[np.float32], k: int) -> Nearest:
    """As `nearest_others` by cosine; with more than `EXACT` rows, a neighbor in a cell far away may be missed.

    The cells are those of k-means, four times the square root of the number of rows (IVF: Sivic and Zisserman, 2003).

    Args:
        vectors: float32 [n, dim], rows of length 1, or 0 for rows that neither have neighbors nor are one.
        k: neighbors a row.
    """
    if len(vectors) <= EXACT:
        return nearest_others(vectors, k)
    import faiss

    present = np.flatnonzero(vectors.any(axis=1))
    unit = np.ascontiguousarray(vectors[present])
    cells = int(4 * np.sqrt(len(unit)))
    index = faiss.index_factory(unit.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(unit[:: max(1, len(unit) // (64 * cells))])
    index.add(unit)
    index.nprobe = CELLS_ASKED
    score, idx = index.search(unit, k + 1)
    score[(idx == np.arange(len(unit))[:, None]) | (idx < 0)] = -np.inf
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    score, idx = np.take_along_axis(score, order, axis=1), np.take_along_axis(idx, order, axis=1)
    found = Nearest(
        np.full((len(vectors), k), -1, dtype=np.int64), np.full((len(vectors), k), -np.inf, dtype=np.float32)
    )
    found.score[present] = score
    found.idx[present] = np.where(np.isfinite(score), present[np.maximum(idx, 0)], -1)
    return found
