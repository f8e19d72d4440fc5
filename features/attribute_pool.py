"""Several sources' opinions as one, with the probability that it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from features.attribute_sources import Doubles, log_softmax
from features.match.calibration import fit_calibrator
from features.match.calibrator import Calibrator


@dataclass(frozen=True, eq=False)
class Pool:
    """A logarithmic opinion pool: the sources' log-probabilities, weighted, are added.

    Args:
        weights: of the sources, >= 0.
        calibrator: how often a winner of given log odds in the pool is right.
        accuracy: how often winners are right.
    """

    weights: Doubles
    calibrator: Calibrator
    accuracy: float

    @classmethod
    def fit(cls, scores: Doubles, share: Doubles) -> Pool:
        """From log-probabilities [n_sources, n, n_values] of labeled items and their labels [n, n_values]."""
        weights = _pool_weights(scores, share)
        value, odds = _winner(weights, scores)
        right = share[np.arange(len(share)), value] > 0
        if right.all() or not right.any():
            odds_of_chance = Calibrator(0.0, 0.0)
            return cls(weights, odds_of_chance, float((right.sum() + 1) / (len(right) + 2)))
        return cls(weights, fit_calibrator(odds[right], odds[~right]), float(right.mean()))

    def __call__(self, scores: Doubles) -> tuple[NDArray[np.int64], Doubles]:
        """Winner and confidence of each row."""
        value, odds = _winner(self.weights, scores)
        return value, self.calibrator(odds, prior=self.accuracy)


def _pool_weights(scores: Doubles, share: Doubles) -> Doubles:
    """The weights of least cross-entropy, by L-BFGS on their logarithms."""
    taught = share.any(axis=1)
    x, y = torch.from_numpy(scores[:, taught]), torch.from_numpy(share[taught])
    free = torch.full((len(scores),), math.log(1 / len(scores)), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = functional.cross_entropy(torch.einsum("s,snv->nv", free.exp(), x), y) + 1e-4 * (free**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weights: Doubles = free.detach().exp().numpy()
    return weights


def _winner(weights: Doubles, scores: Doubles) -> tuple[NDArray[np.int64], Doubles]:
    """The likeliest value of each row and its log odds in the pool."""
    pooled = log_softmax(np.einsum("s,snv->nv", weights, scores))
    best = pooled.max(axis=1)
    return pooled.argmax(axis=1), best - np.log(np.maximum(-np.expm1(best), 1e-12))
