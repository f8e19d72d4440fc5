"""From a margin to a probability, and how good that probability is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibrator:
    """Probability of a match = sigmoid(slope * margin + offset), for as many matches as mismatches (Platt, 1999).

    Args:
        slope: >= 0; evidence never counts backwards.
        offset: log odds at margin 0.
    """

    slope: float
    offset: float

    def __call__(self, margin: Floats, *, prior: float = 0.5) -> Floats:
        """Probabilities in [0, 1], where a share `prior` of all pairs match.

        Another prior shifts the log odds by its own (Bayes' rule).
        """
        shift = math.log(prior / (1 - prior))
        return sigmoid(self.slope * margin + self.offset + shift)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def fit_calibrator(matched: Floats, mismatched: Floats, *, ridge: float = 1e-3) -> Calibrator:
    """Logistic regression of "matched" on the margin by Newton's method; both sides have the same total weight.

    Args:
        matched: margins of pairs that belong together, float64 [n].
        mismatched: margins of pairs that do not, float64 [m].
        ridge: on the standardized slope, so that separable sides give a finite one.

    Raises:
        ValueError: a side is empty.
    """
    if not len(matched) or not len(mismatched):
        raise ValueError(f"both sides need a margin, got {len(matched)} matched and {len(mismatched)} mismatched")
    margin = np.concatenate([matched, mismatched])
    center, spread = float(margin.mean()), float(margin.std())
    if spread == 0:
        return Calibrator(0.0, 0.0)
    x = np.stack([(margin - center) / spread, np.ones_like(margin)], axis=1)
    label = np.concatenate([np.ones(len(matched)), np.zeros(len(mismatched))])
    weight = np.where(label == 1, 0.5 / len(matched), 0.5 / len(mismatched))
    penalty = np.array([ridge, 0.0])
    beta = np.zeros(2)
    for _ in range(100):
        p = sigmoid(x @ beta)
        gradient = x.T @ (weight * (p - label)) + penalty * beta
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        beta -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    if beta[0] <= 0:
        return Calibrator(0.0, 0.0)
    slope = float(beta[0] / spread)
    return Calibrator(slope, float(beta[1] - slope * center))


def auroc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN without one of either."""
    n, m = len(positive), len(negative)
    if not n or not m:
        return math.nan
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def expected_calibration_error(
    probability: Floats, label: NDArray[np.bool_], weight: Floats, *, bins: int = 10
) -> float:
    """Mean gap between what is promised and what happens, over equally wide bins (Naeini et al., 2015).

    Args:
        probability: float64 [n] in [0, 1].
        label: bool [n], what happened.
        weight: float64 [n], how much each counts.
        bins: how many.

    Returns:
        In [0, 1]; NaN where nothing is given.
    """
    if not len(probability) or weight.sum() == 0:
        return math.nan
    place = np.minimum((probability * bins).astype(int), bins - 1)
    promised = np.bincount(place, weight * probability, minlength=bins)
    happened = np.bincount(place, weight * label, minlength=bins)
    return float(np.abs(promised - happened).sum() / weight.sum())
