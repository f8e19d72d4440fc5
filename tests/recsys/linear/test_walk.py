from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from recsys.linear.scaling import column_sums
from recsys.linear.walk import WalkShape, half_step, walk_core, walk_scores, walk_weights

LONG = WalkShape(user_exponent=0.4, source_exponent=0.1, target_exponent=0.3, persistence=0.7)


def random_pairs() -> sparse.csr_matrix:
    pairs = np.random.default_rng(0).random((30, 12)) < 0.2
    pairs[:, 5] = False  # nobody has it
    pairs[4] = False  # has nothing
    return sparse.csr_matrix(pairs, dtype=np.float32)


def test_one_step_by_hand() -> None:
    # user 0 has items 0 and 1, user 1 has 1: item 0 goes to user 0, who goes to both items alike
    pairs = sparse.csr_matrix([[1, 1], [0, 1]], dtype=np.float32)
    shape = WalkShape(source_exponent=0.5, target_exponent=0.5)
    weights = walk_weights(walk_core(half_step(pairs, 0.5), 0.0), column_sums(pairs), shape)
    assert weights == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]), abs=1e-6)
    assert weights.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("persistence", [0.7, -0.7])
def test_the_weights_are_the_sum_of_all_steps(persistence: float) -> None:
    pairs, shape = random_pairs(), replace(LONG, persistence=persistence)
    dense = pairs.toarray().astype(np.float64)
    users, items = dense.sum(axis=1), dense.sum(axis=0)
    b = np.where(users > 0, np.maximum(users, 1) ** -0.4, 0)[:, None] * dense * np.maximum(items, 1) ** -0.5
    b /= np.linalg.svd(b, compute_uv=False)[0]
    step, total, term = b.T @ b, np.zeros((12, 12)), b.T @ b
    for _ in range(200):
        total, term = total + term, persistence * term @ step
    degree = np.maximum(items, 1)
    expected = degree[:, None] ** -0.1 * total * degree**0.3
    weights = walk_weights(walk_core(half_step(pairs, 0.4), persistence), items, shape)
    assert weights == pytest.approx(expected, rel=1e-3, abs=1e-4)
    by_steps = walk_scores(pairs, half_step(pairs, 0.4), items, shape, steps=40)
    assert by_steps == pytest.approx(dense @ expected, rel=1e-3, abs=1e-4)


def test_a_cut_series_leaves_out_at_most_its_share() -> None:
    pairs, shape = random_pairs(), WalkShape(persistence=0.5, target_exponent=0.0)
    half, items = half_step(pairs, 0.5), column_sums(pairs)
    whole = np.linalg.norm(walk_scores(pairs, half, items, shape, steps=60), axis=1)
    cut = np.linalg.norm(walk_scores(pairs, half, items, shape, steps=3), axis=1)
    assert (whole - cut <= 0.5**3 * whole / (1 - 0.5) + 1e-5).all()
    assert (whole - cut)[whole > 0].max() > 1e-4


def test_without_persistence_one_step_is_all() -> None:
    pairs, shape = random_pairs(), WalkShape(target_exponent=0.2)
    half, items = half_step(pairs, 0.5), column_sums(pairs)
    one, many = (walk_scores(pairs, half, items, shape, steps=steps) for steps in (1, 5))
    np.testing.assert_array_equal(one, many)
    assert one == pytest.approx(pairs @ walk_weights(walk_core(half, 0.0), items, shape), abs=1e-5)


def test_the_walk_never_ends_with_persistence_1() -> None:
    with pytest.raises(ValueError, match=r"persistence must be in \(-1, 1\), got 1"):
        WalkShape(persistence=1.0)
