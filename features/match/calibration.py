"""How margins become probabilities: learned, and judged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

from features.match.calibrator import Calibrator, Floats, sigmoid

PAIRS_PER_STEP = 15
MOST_STEPS = 16


def fit_calibrator(matched: Floats, mismatched: Floats) -> Calibrator:
    """Log odds of "matched" by the margin; both sides have the same total weight.

    Args:
        matched: margins of pairs that belong together, float64 [n].
        mismatched: margins of pairs that do not, float64 [m].

    Raises:
        ValueError: a side is empty.
    """
    if not len(matched) or not len(mismatched):
        raise ValueError(f"both sides need a margin, got {len(matched)} matched and {len(mismatched)} mismatched")
    margin = np.concatenate([matched, mismatched])
    label = np.concatenate([np.ones(len(matched)), np.zeros(len(mismatched))])
    weight = np.where(label == 1, 0.5 / len(matched), 0.5 / len(mismatched))
    slopes, offset = logistic(margin[:, None], label, weight)
    slope = float(slopes[0])
    if slope <= 0:
        return Calibrator(0.0, 0.0)
    n_steps = min(MOST_STEPS, min(len(matched), len(mismatched)) // PAIRS_PER_STEP)
    if n_steps < 2:
        return Calibrator(slope, offset)
    knots, log_odds = _steps(margin, label, weight, n_steps)
    return Calibrator(slope, offset, tuple(knots.tolist()), tuple(log_odds.tolist()))


def logistic(
    x: Floats, label: Floats, weight: Floats, *, ridge: float = 1e-3, most_steps: int = 100
) -> tuple[Floats, float]:
    """Weighted logistic regression by Newton's method; the ridge keeps the slopes finite where the sides separate.

    Args:
        x: float64 [n, d].
        label: float64 [n], 1 or 0.
        weight: float64 [n], how much each counts.
        ridge: on slopes of standardized columns.
        most_steps: of Newton's method.

    Returns:
        slopes float64 [d], 0 for a column that is the same everywhere, and the offset.
    """
    center, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    standard = np.concatenate([(x - center) * scale, np.ones((len(x), 1))], axis=1)
    penalty = np.append(np.full(x.shape[1], ridge), 0.0)
    beta = np.zeros(len(penalty))
    for _ in range(most_steps):
        p = sigmoid(standard @ beta)
        gradient = standard.T @ (weight * (p - label)) + penalty * beta
        hessian = (standard * (weight * p * (1 - p))[:, None]).T @ standard + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        beta -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    slopes: Floats = beta[:-1] * scale
    return slopes, float(beta[-1] - slopes @ center)


def _steps(margin: Floats, label: Floats, weight: Floats, n_steps: int) -> tuple[Floats, Floats]:
    """Mean margin and log odds of equally heavy stretches of margins, made rising; half a pair is added a side."""
    order = np.argsort(margin, kind="stable")
    margin, label, weight = margin[order], label[order], weight[order]
    place = np.minimum((n_steps * (np.cumsum(weight) - weight / 2)).astype(int), n_steps - 1)
    total = np.bincount(place, weight, minlength=n_steps)
    knots = np.bincount(place, weight * margin, minlength=n_steps) / total
    half_pair = 0.25 / np.array([label.sum(), len(label) - label.sum()])
    matched = np.bincount(place, weight * label, minlength=n_steps) + half_pair[0]
    mismatched = np.bincount(place, weight * (1 - label), minlength=n_steps) + half_pair[1]
    rising = isotonic_regression(np.log(matched / mismatched), weights=total).x
    return knots, np.asarray(rising, dtype=np.float64)


def calibrate_by_fold(own: Floats, foreign: Floats, fold: NDArray[np.int64]) -> tuple[Calibrator, dict[str, float]]:
    """The calibrator of all held-out margins; its quality is measured fold by fold, calibrated on the other folds.

    Args:
        own: margins of pairs that belong together, each by a model that has not learned it, float64 [n].
        foreign: of the same with foreign partners, float64 [n, m], NaN where there is none.
        fold: int64 [n].

    Returns:
        the calibrator, and "auroc" and "expected_calibration_error" on held-out pairs.
    """
    promised, happened, weight = [], [], []
    for number in np.unique(fold):
        here = fold == number
        calibrate = fit_calibrator(own[~here], known(foreign[~here]))
        for margins, belongs in ((own[here], True), (known(foreign[here]), False)):
            promised.append(calibrate(margins))
            happened.append(np.full(len(margins), belongs))
            weight.append(np.full(len(margins), here.sum() / max(len(margins), 1)))
    error = expected_calibration_error(np.concatenate(promised), np.concatenate(happened), np.concatenate(weight))
    report = {"auroc": auroc(own, known(foreign)), "expected_calibration_error": error}
    return fit_calibrator(own, known(foreign)), report


def known(margins: Floats) -> Floats:
    """The margins that are not NaN, in one row."""
    kept: Floats = margins[~np.isnan(margins)]
    return kept


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
