from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.ctr.metrics import auc, best_threshold, f1, judge

LABEL = np.array([1, 0, 1, 0, 1, 0, 0], dtype=np.int8)
SCORE = np.array([0.9, 0.8, 0.7, 0.7, 0.3, 0.3, 0.1])


def test_auc_is_the_share_of_pairs_in_the_right_order_ties_counting_half() -> None:
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, liked in zip(SCORE, LABEL, strict=True)
        for b, other in zip(SCORE, LABEL, strict=True)
        if liked and not other
    ]
    assert auc(LABEL, SCORE) == pytest.approx(np.mean(won))
    assert auc(np.array([1, 1], dtype=np.int8), np.array([0.1, 0.2])) != auc(LABEL, SCORE)


def test_what_is_undefined_is_nan() -> None:
    ones, nothing = np.ones(2, dtype=np.int8), np.zeros(0)
    assert math.isnan(auc(ones, np.array([0.1, 0.2])))
    assert all(math.isnan(value) for value in judge(nothing.astype(np.int8), nothing, 0.5).values())
    assert math.isnan(f1(np.zeros(2, dtype=np.int8), np.array([0.1, 0.2]), 0.5))


def test_f1_by_hand_and_the_threshold_is_the_best_of_all() -> None:
    assert f1(LABEL, SCORE, 0.5) == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    rng = np.random.default_rng(0)
    for _ in range(20):
        label, score = rng.integers(0, 2, 30).astype(np.int8), rng.integers(0, 8, 30) / 8
        best = max(f1(label, score, threshold) for threshold in (*score, 2.0))
        assert f1(label, score, best_threshold(label, score)) == pytest.approx(best)
    with pytest.raises(ValueError, match="needs liked pairs"):
        best_threshold(np.zeros(3, dtype=np.int8), np.ones(3))


def test_all_metrics_of_a_small_case() -> None:
    told = judge(np.array([1, 0], dtype=np.int8), np.array([0.8, 0.4]), 0.5)
    assert told == pytest.approx({"auc": 1.0, "f1": 1.0, "accuracy": 1.0, "log_loss": -(np.log(0.8) + np.log(0.6)) / 2})
    assert judge(np.array([1], dtype=np.int8), np.array([0.0]), 0.5)["log_loss"] == pytest.approx(-np.log(1e-7))
