from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from recsys.linear.spectral import grown, leading_directions, spectral_input


def fading(n_rows: int, n_columns: int, n: int) -> tuple[sparse.csr_matrix, NDArray[np.float64]]:
    """A matrix whose singular values are 1, .8, .64, ..., and its right singular vectors."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.standard_normal((n_rows, n)))[0]
    right = np.linalg.qr(rng.standard_normal((n_columns, n)))[0]
    return sparse.csr_matrix((left * 0.8 ** np.arange(n)) @ right.T, dtype=np.float32), right


def test_the_directions_are_the_singular_vectors_of_the_largest_values_in_order() -> None:
    matrix, right = fading(80, 60, 30)
    found = leading_directions(matrix, 5)
    assert found.dtype == np.float32
    assert np.abs(right[:, :5].T @ found) == pytest.approx(np.eye(5), abs=1e-3)
    assert found.T @ found == pytest.approx(np.eye(5), abs=1e-5)


def test_there_are_no_more_directions_than_the_matrix_has() -> None:
    matrix, right = fading(80, 60, 4)
    found = leading_directions(matrix, 20)
    assert found.shape == (60, 4)
    assert found @ found.T == pytest.approx(right @ right.T, abs=1e-3)


def test_nothing_at_all_has_no_directions() -> None:
    assert leading_directions(sparse.csr_matrix(np.zeros((5, 7), dtype=np.float32)), 3).shape == (7, 0)


def test_degrees_grow_by_a_share_of_their_mean_and_nothing_stays_nothing() -> None:
    assert grown(np.array([2.0, 0.0, 6.0]), 0.5).tolist() == [4.0, 0.0, 8.0]
    with pytest.raises(ValueError, match=r"smoothing must be >= 0, got -1"):
        grown(np.ones(2), -1.0)


def test_the_input_by_hand() -> None:
    pairs = sparse.csr_matrix(
        [[1, 1], [0, 1]], dtype=np.float32
    )  # degrees 2, 1 of users and 1, 2 of items, 1.5 in mean
    half, columns = spectral_input(pairs, 2.0)
    assert columns.tolist() == [4.0, 5.0]
    assert half.toarray() == pytest.approx(np.array([[1 / 20**0.5, 1 / 5], [0, 1 / 20**0.5]]))


def test_as_many_directions_as_tastes_tell_the_tastes_apart_from_chance() -> None:
    """Three groups of users like three groups of items, half of them each; what is missing comes before all else."""
    rng = np.random.default_rng(1)
    own = np.repeat(np.arange(3), 40)[:, None] == np.repeat(np.arange(3), 20)[None, :]
    liked = own & (rng.random(own.shape) < 0.5) | (rng.random(own.shape) < 0.02)
    half, columns = spectral_input(sparse.csr_matrix(liked, dtype=np.float32), 1.0)
    directions = leading_directions(half, 3)
    scores = (liked / columns**0.5) @ directions @ directions.T * columns**0.5
    scores[liked] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5]
    assert np.take_along_axis(own, best, axis=1).mean() > 0.98


def test_no_direction_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        leading_directions(sparse.csr_matrix(np.eye(3, dtype=np.float32)), 0)
