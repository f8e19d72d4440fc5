"""What a reward is expected to be: smoothed means per kind of slot and item, never from the row's own fold.

A mean of few rows is pulled towards what its item and its cell do elsewhere (rate of the item times rate of the cell).
The pull is worth Var(reward) / mean(reward)² rows: for clicks about as many impressions as one click costs. The folds'
sums are kept apart, so that leaving one out is a subtraction and one pass over the log is enough (cross-fitting as in
Chernozhukov et al. 2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import FOLDS, Rows

F64 = NDArray[np.float64]


class RewardSums:
    """Collects a reward model's sums, row by row weighted.

    Args:
        n_cells: kinds of slot.
        n_items: items.
    """

    def __init__(self, n_cells: int, n_items: int) -> None:
        self._shape = (FOLDS, n_cells, n_items)
        self._weight = np.zeros(FOLDS * n_cells * n_items)
        self._reward = np.zeros_like(self._weight)
        self._n = np.zeros(FOLDS)
        self._square = np.zeros(FOLDS)
        self._lowest = 0.0

    def add(self, rows: Rows, weight: F64 | None = None) -> None:
        """Take in rows; `weight` is float64 [m], 1 each where left out."""
        _, n_cells, n_items = self._shape
        at = (rows.fold * n_cells + rows.cell) * n_items + rows.item_idx
        size = len(self._weight)
        reward = rows.reward if weight is None else weight * rows.reward
        self._weight += np.bincount(at, weights=weight, minlength=size)
        self._reward += np.bincount(at, weights=reward, minlength=size)
        self._n += np.bincount(rows.fold, minlength=FOLDS)
        self._square += np.bincount(rows.fold, weights=reward * rows.reward, minlength=FOLDS)
        self._lowest = min(self._lowest, float(rows.reward.min(initial=0.0)))

    def values(self) -> F64:
        """Expected rewards, float64 [folds, cells, items]; entry f holds for rows of fold f and knows only the others.

        NaN where the other folds have no rows at all.
        """
        weight, reward = self._weight.reshape(self._shape), self._reward.reshape(self._shape)
        found = np.empty(self._shape)
        for fold in range(FOLDS):
            others = np.arange(FOLDS) != fold
            n, s = weight[others].sum(axis=0), reward[others].sum(axis=0)
            total = float(n.sum())
            if total <= 0:
                found[fold] = np.nan
                continue
            mean = float(s.sum()) / total
            spread = float(self._square[others].sum()) / total - mean**2
            pull = spread / mean**2 if mean != 0 and spread > 0 else 1.0
            unit = total / float(self._n[others].sum())  # weights need not be near 1: the pull is in their unit
            found[fold] = _smoothed(s, n, pull * unit, additive=self._lowest < 0)
        return found


def _smoothed(s: F64, n: F64, pull: float, *, additive: bool) -> F64:
    """Means [cells, items] pulled towards what item and cell do elsewhere."""
    mean = s.sum() / n.sum()
    of_item = (s.sum(axis=0) + pull * mean) / (n.sum(axis=0) + pull)
    of_cell = (s.sum(axis=1) + pull * mean) / (n.sum(axis=1) + pull)
    if additive or mean == 0:
        usual = of_item[None, :] + of_cell[:, None] - mean
    else:
        usual = of_item[None, :] * of_cell[:, None] / mean
    found: F64 = (s + pull * usual) / (n + pull)
    return found
