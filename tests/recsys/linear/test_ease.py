from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from recsys.linear.ease import ease_input, ease_weights, local_ease_weights


def random_pairs(n_users: int, n_items: int, seed: int = 0) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.random.default_rng(seed).random((n_users, n_items)) < 0.5, dtype=np.float32)


def oracle(x: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Each column as its own least squares over all other items."""
    gram = x.T @ x
    penalty = ridge * gram.diagonal()[gram.diagonal() > 0].mean()
    weights = np.zeros_like(gram)
    for item in range(len(gram)):
        others = np.delete(np.arange(len(gram)), item)
        left = gram[np.ix_(others, others)] + penalty * np.eye(len(others))
        weights[others, item] = np.linalg.solve(left, gram[others, item])
    return weights


def test_three_items_by_hand() -> None:
    x = sparse.csr_matrix([[1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=np.float32)
    # items 0 and 1 share a user, 1 and 2 share one; squared lengths 2, 2, 1; ridge 0.6 * 5/3 = 1
    # item 0 from (1, 2): [[3, 1], [1, 2]] w = [1, 0]; item 1 from (0, 2): [[3, 0], [0, 2]] w = [1, 1]
    expected = [[0, 1 / 3, -1 / 8], [2 / 5, 0, 3 / 8], [-1 / 5, 1 / 2, 0]]
    assert ease_weights(x, ridge=0.6) == pytest.approx(np.array(expected), abs=1e-6)


def test_the_closed_form_is_least_squares_item_by_item() -> None:
    x = random_pairs(40, 12)
    for weights in (ease_weights(x, ridge=0.3), local_ease_weights(x, ridge=0.3, neighbors=11).toarray()):
        assert weights == pytest.approx(oracle(x.toarray().astype(np.float64), 0.3), abs=1e-4)


def test_local_weights_are_least_squares_over_the_nearest_items() -> None:
    x = random_pairs(60, 15, seed=2)
    gram = (x.T @ x).toarray().astype(np.float64)
    length = np.sqrt(gram.diagonal())
    weights = local_ease_weights(x, ridge=0.5, neighbors=4).toarray()
    for item in range(15):
        cosine = gram[:, item] / length
        cosine[item] = -1
        near = np.argsort(-cosine)[:4]
        if cosine[near[-1]] == np.sort(cosine)[-5]:
            continue  # two items are equally near: either may be kept
        left = gram[np.ix_(near, near)] + 0.5 * gram.diagonal().mean() * np.eye(4)
        expected = np.zeros(15)
        expected[near] = np.linalg.solve(left, gram[near, item])
        assert weights[:, item] == pytest.approx(expected, abs=1e-4)


def test_degrees_are_taken_off_rows_and_columns() -> None:
    pairs = sparse.csr_matrix([[1, 1, 1, 1], [0, 0, 0, 1]], dtype=np.float32)
    x, columns = ease_input(pairs, user_exponent=0.5, item_exponent=1.0)
    assert x.toarray() == pytest.approx(np.array([[0.5, 0.5, 0.5, 0.25], [0, 0, 0, 0.5]]))
    assert columns == pytest.approx([1, 1, 1, 0.5])


def test_an_item_that_nobody_has_gets_and_gives_nothing() -> None:
    pairs = random_pairs(30, 6).toarray()
    pairs[:, 3] = 0
    for x in (sparse.csr_matrix(pairs), sparse.csr_matrix((4, 6), dtype=np.float32)):
        for weights in (ease_weights(x, ridge=1.0), local_ease_weights(x, ridge=1.0, neighbors=3).toarray()):
            assert not weights[3].any()
            assert not weights[:, 3].any()


def test_a_ridge_must_be_positive() -> None:
    for fit in (ease_weights, lambda x, ridge: local_ease_weights(x, ridge=ridge, neighbors=2)):
        with pytest.raises(ValueError, match="ridge must be > 0, got 0"):
            fit(random_pairs(5, 3), ridge=0.0)
