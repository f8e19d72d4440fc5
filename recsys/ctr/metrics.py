"""How good probabilities are: AUC, F1, accuracy and log loss; whatever is undefined is NaN.

AUC      = P(score of a liked pair > score of another) + P(equal) / 2        (Mann & Whitney 1947)
F1       = 2 TP / (2 TP + FP + FN)        where score >= threshold means "liked"
accuracy = share of pairs on the right side of the threshold
log loss = - mean of log p(label)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

METRICS = ("auc", "f1", "accuracy", "log_loss")
SMALLEST = 1e-7
"""Probabilities nearer to 0 or 1 count as this near in the log loss."""


def auc(label: NDArray[np.int8], score: NDArray[np.float64]) -> float:
    """Chance that a liked pair scores higher than another; NaN where one of the labels is absent."""
    n_liked = int(label.sum())
    n_other = len(label) - n_liked
    if n_liked == 0 or n_other == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[label == 1].sum() - n_liked * (n_liked + 1) / 2) / (n_liked * n_other))


def f1(label: NDArray[np.int8], score: NDArray[np.float64], threshold: float) -> float:
    """F1 of "score >= threshold"; NaN where nothing is liked and nothing is said to be."""
    said = score >= threshold
    counted = int(said.sum()) + int(label.sum())
    return 2 * int((said & (label == 1)).sum()) / counted if counted else float("nan")


def best_threshold(label: NDArray[np.int8], score: NDArray[np.float64]) -> float:
    """The score at which to say "liked" for the highest F1 on these pairs, which must not be the test's.

    Raises:
        ValueError: nothing is liked, so that no threshold is better than another.
    """
    if not label.any():
        raise ValueError("a threshold needs liked pairs, there are none")
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    hits = np.cumsum(label[order])
    values = 2 * hits / (np.arange(1, len(label) + 1) + int(label.sum()))
    values[:-1][ordered[:-1] == ordered[1:]] = -1  # equal scores are on one side
    return float(ordered[int(np.argmax(values))])


def judge(label: NDArray[np.int8], probability: NDArray[np.float64], threshold: float) -> dict[str, float]:
    """All metrics of some pairs.

    Args:
        label: int8 [n].
        probability: float64 [n].
        threshold: from `best_threshold` on validation.
    """
    right = np.where(label == 1, probability, 1 - probability).clip(SMALLEST, 1)
    empty = len(label) == 0
    return {
        "auc": auc(label, probability),
        "f1": f1(label, probability, threshold),
        "accuracy": float("nan") if empty else float(((probability >= threshold) == (label == 1)).mean()),
        "log_loss": float("nan") if empty else float(-np.log(right).mean()),
    }
