from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from recsys import metrics


def naive(top: list[int], held: set[int], k: int) -> dict[str, float]:
    """The definitions, one item after the other."""
    shown = [item for item in top[:k] if item >= 0]
    rel = [item in held for item in shown]
    found = sum(rel)
    dcg = sum(1 / math.log2(r + 2) for r, is_held in enumerate(rel) if is_held)
    ideal = sum(1 / math.log2(r + 2) for r in range(min(k, len(held))))
    precisions = [sum(rel[: r + 1]) / (r + 1) for r, is_held in enumerate(rel) if is_held]
    return {
        "recall": found / len(held),
        "hit": float(found > 0),
        "mrr": next((1 / (r + 1) for r, is_held in enumerate(rel) if is_held), 0.0),
        "map": sum(precisions) / min(k, len(held)),
        "ndcg": dcg / ideal,
    }


def lists(seed: int = 0, *, n_users: int = 60, n_items: int = 40, width: int = 15) -> tuple[np.ndarray, list[set[int]]]:
    """Random lists without repeats, some of them ended early, and random held-out sets."""
    rng = np.random.default_rng(seed)
    top = np.stack([rng.permutation(n_items)[:width] for _ in range(n_users)])
    top[::7, 9:] = -1
    held = [set(rng.choice(n_items, size=rng.integers(1, 12), replace=False).tolist()) for _ in range(n_users)]
    return top, held


def hits_of(top: np.ndarray, held: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    hits = np.array([[item in wanted for item in row] for row, wanted in zip(top.tolist(), held, strict=True)])
    return hits, np.array([len(wanted) for wanted in held])


@pytest.mark.parametrize("k", [1, 5, 10, 15, 30])
def test_each_metric_is_that_of_the_naive_loop(k: int) -> None:
    top, held = lists()
    hits, n_held = hits_of(top, held)
    found = metrics.per_user(top, hits, n_held, np.ones(40), k)
    for user in range(len(top)):
        for name, value in naive(top[user].tolist(), held[user], k).items():
            assert found[f"{name}@{k}"][user] == pytest.approx(value), (name, user)


def test_metrics_by_hand() -> None:
    hits = np.array([[False, True, False, True]])  # 3 items were held out, found at ranks 2 and 4
    n_held = np.array([3])
    assert metrics.recall(hits, n_held, 4) == pytest.approx([2 / 3])
    assert metrics.average_precision(hits, n_held, 4) == pytest.approx([(1 / 2 + 2 / 4) / 3])
    assert metrics.average_precision(hits, n_held, 2) == pytest.approx([(1 / 2) / 2])
    assert metrics.reciprocal_rank(hits, n_held, 4) == pytest.approx([0.5])
    assert metrics.hit(hits, n_held, 1) == pytest.approx([0.0])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg(hits, n_held, 4) == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / ideal])


def test_a_perfect_list_scores_one_even_where_more_is_held_out_than_fits() -> None:
    hits, n_held = np.ones((1, 3), dtype=bool), np.array([10])
    assert metrics.ndcg(hits, n_held, 3) == pytest.approx([1.0])
    assert metrics.average_precision(hits, n_held, 3) == pytest.approx([1.0])
    assert metrics.recall(hits, n_held, 3) == pytest.approx([0.3])


def test_a_user_with_nothing_held_out_is_undefined_and_not_zero() -> None:
    hits, n_held = np.zeros((1, 3), dtype=bool), np.array([0])
    for metric in (
        metrics.recall,
        metrics.ndcg,
        metrics.average_precision,
        metrics.reciprocal_rank,
        metrics.hit,
    ):
        assert np.isnan(metric(hits, n_held, 3)).all()


def test_novelty_is_the_mean_surprise_in_bits() -> None:
    bits = metrics.surprise(np.array([7, 3, 0]), n_users=7)
    assert bits == pytest.approx([0.0, 1.0, 3.0])  # 8/8, 4/8, 1/8
    found = metrics.novelty(np.array([[0, 2, -1], [1, 2, 0], [-1, -1, -1]]), bits, 3)
    assert found[:2] == pytest.approx([1.5, 4 / 3])
    assert np.isnan(found[2])


def test_coverage_counts_items_that_anybody_is_shown() -> None:
    top = np.array([[0, 1, 2], [1, 0, -1]])
    assert metrics.coverage(top, 10, 1) == pytest.approx(0.2)
    assert metrics.coverage(top, 10, 3) == pytest.approx(0.3)
    assert math.isnan(metrics.coverage(top[:0], 10, 3))


def test_a_list_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metrics.recall(np.ones((1, 1), dtype=bool), np.array([1]), 0)


def test_metrics_agree_with_ranx() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its compiler
        from numba.typed import List
        from ranx.metrics import ndcg, recall, reciprocal_rank

        top, held = lists(seed=1, n_users=20, width=9)
        top = np.where(top < 0, 39, top)  # ranx knows no ended lists
        falling = 100.0 - np.arange(9)
        run = List([np.stack([row + 1.0, falling], axis=1) for row in top])
        wanted = List([np.stack([np.array(sorted(w)) + 1.0, np.ones(len(w))], axis=1) for w in held])
        theirs = {
            "recall@5": recall(wanted, run, 5),
            "ndcg@5": ndcg(wanted, run, 5),
            "mrr@5": reciprocal_rank(wanted, run, 5),
        }
    hits, n_held = hits_of(top, held)
    ours = metrics.per_user(top, hits, n_held, np.ones(40), 5)
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values), name
