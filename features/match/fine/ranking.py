"""How well words find their picture, and pictures their words: each listing's own counterpart among all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10)

Metrics = dict[str, float]


def places(likeness: NDArray[np.floating]) -> NDArray[np.float64]:
    """Place of the own one in each row, from 0: how many are ahead, and half of those that tie with it.

    Args:
        likeness: [n, n]; row i's own is column i.

    Returns:
        float64 [n].
    """
    own = likeness.diagonal()[:, None]
    ahead, tied = (likeness > own).sum(1), (likeness == own).sum(1) - 1
    return np.asarray(ahead + tied / 2, dtype=np.float64)


def metrics_at(place: NDArray[np.float64]) -> Metrics:
    """Means over queries with one right answer each: recall@k, MRR, nDCG@10 and MAP (which is then MRR).

    Args:
        place: of the right answer, from 0.

    Returns:
        NaN for each where there is no query.
    """
    names = [*(f"recall@{k}" for k in KS), "mrr", "ndcg@10", "map", "median_place"]
    if not len(place):
        return dict.fromkeys(names, math.nan)
    gains = np.where(place < 10, 1 / np.log2(place + 2), 0)
    mrr = float((1 / (place + 1)).mean())
    values = [*(float((place < k).mean()) for k in KS), mrr, float(gains.mean()), mrr, float(np.median(place)) + 1]
    return dict(zip(names, values, strict=True))


def both_ways(likeness: NDArray[np.floating]) -> Metrics:
    """Means of the metrics of rows and of columns."""
    rows, columns = metrics_at(places(likeness)), metrics_at(places(likeness.T))
    return {name: (rows[name] + columns[name]) / 2 for name in rows}


def reordered(
    place: NDArray[np.float64], order: NDArray[np.int64], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Places after the first k of each list are ordered again.

    Args:
        place: of the right answer before, [n].
        order: the first k of each list, columns, int64 [n, k].
        scores: their new scores, [n, k]; the right answer of row i is column i.

    Returns:
        float64 [n]; where the right answer is not among the k, its place stays.
    """
    out = place.copy()
    for row, (columns, score) in enumerate(zip(order, scores, strict=True)):
        at = np.flatnonzero(columns == row)
        if len(at):
            own = score[at[0]]
            out[row] = (score > own).sum() + ((score == own).sum() - 1) / 2
    return out
