from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from graph.csr import Adjacency, normalized, propagate


@pytest.fixture
def matrix() -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    dense = rng.random((12, 12)) * (rng.random((12, 12)) < 0.3)
    return sparse.csr_matrix(dense + dense.T)


def test_propagation_is_the_dense_product(matrix: sparse.csr_matrix) -> None:
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(matrix.toarray()).float() @ x
    torch.testing.assert_close(propagate(Adjacency.of(matrix), x), expected)


def test_the_gradient_is_that_of_the_dense_product(matrix: sparse.csr_matrix) -> None:
    adjacency = Adjacency.of(matrix, dtype=torch.float64)
    x = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: propagate(adjacency, propagate(adjacency, x) ** 2), (x,))
    dense = torch.from_numpy(matrix.toarray())
    weight = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (by_kernel,) = torch.autograd.grad((weight * propagate(adjacency, x)).sum(), x)
    torch.testing.assert_close(by_kernel, dense.T @ weight)


def test_a_matrix_that_is_not_symmetric_is_refused_by_place() -> None:
    crooked = sparse.csr_matrix(np.array([[0.0, 2.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"must be symmetric, \[0, 1\] is 2.0 and \[1, 0\] is 1.0"):
        Adjacency.of(crooked)
    with pytest.raises(ValueError, match="must be square"):
        Adjacency.of(sparse.csr_matrix(np.ones((2, 3))))


def test_an_empty_matrix_passes_nothing_on() -> None:
    adjacency = Adjacency.of(sparse.csr_matrix(np.zeros((3, 3))))
    assert (len(adjacency), adjacency.n_entries) == (3, 0)
    assert propagate(adjacency, torch.ones(3, 2)).tolist() == [[0, 0]] * 3


def test_normalization_divides_by_the_roots_of_both_degrees() -> None:
    block = sparse.csr_matrix(np.array([[1.0, 3.0], [0.0, 1.0], [0.0, 0.0]]))
    expected = [[1 / np.sqrt(4 * 1), 3 / np.sqrt(4 * 4)], [0, 1 / np.sqrt(1 * 4)], [0, 0]]
    np.testing.assert_allclose(normalized(block).toarray(), expected, rtol=1e-6)
