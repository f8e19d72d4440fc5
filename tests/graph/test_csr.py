from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from features.errors import InputError
from graph.csr import Adjacency, close_order, mean_of_layers, normalized, propagate


@pytest.fixture
def matrix() -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    dense = rng.random((12, 12)) * (rng.random((12, 12)) < 0.3)
    return sparse.csr_matrix(dense + dense.T)


def test_propagation_is_the_dense_product(matrix: sparse.csr_matrix) -> None:
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(matrix.toarray()).float() @ x
    torch.testing.assert_close(propagate(Adjacency.of(matrix), x), expected)


def test_entries_that_are_given_twice_and_out_of_order_add_up() -> None:
    twice = sparse.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    adjacency = Adjacency.of(twice)
    assert adjacency.n_entries == 2
    assert propagate(adjacency, torch.tensor([[1.0], [10.0]])).ravel().tolist() == [30.0, 3.0]


def test_the_gradient_is_that_of_the_dense_product(matrix: sparse.csr_matrix) -> None:
    adjacency = Adjacency.of(matrix, dtype=torch.float64)
    x = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: propagate(adjacency, propagate(adjacency, x) ** 2), (x,))
    dense = torch.from_numpy(matrix.toarray())
    weight = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (by_kernel,) = torch.autograd.grad((weight * propagate(adjacency, x)).sum(), x)
    torch.testing.assert_close(by_kernel, dense.T @ weight)


def test_a_product_is_computed_in_the_precision_of_the_matrix_and_given_in_that_of_the_rows(
    matrix: sparse.csr_matrix,
) -> None:
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    precise = propagate(Adjacency.of(matrix, dtype=torch.float64), x)
    expected = torch.from_numpy(matrix.toarray()) @ x.double()
    assert precise.dtype == torch.float32
    assert torch.equal(precise, expected.float())  # to the last digit, as no float32 product is
    (gradient,) = torch.autograd.grad(precise.sum(), x)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, torch.from_numpy(matrix.toarray().sum(axis=0)).float()[:, None].expand(12, 3))


def test_bfloat16_is_refused_on_a_cpu(matrix: sparse.csr_matrix) -> None:
    with pytest.raises(InputError, match="bfloat16 needs CUDA, the device is 'cpu'"):
        Adjacency.of(matrix, dtype=torch.bfloat16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_bfloat16_agrees_with_float32_to_its_three_digits(matrix: sparse.csr_matrix) -> None:
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(1)).cuda()
    coarse = propagate(Adjacency.of(matrix, dtype=torch.bfloat16, device="cuda"), x)
    torch.testing.assert_close(coarse, propagate(Adjacency.of(matrix, device="cuda"), x), rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("layers", [0, 1, 2, 3, 4])
def test_the_mean_of_layers_and_its_gradient_are_those_of_dense_powers(matrix: sparse.csr_matrix, layers: int) -> None:
    adjacency = Adjacency.of(matrix, dtype=torch.float64)
    x = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    given = x.detach().clone()
    dense = torch.from_numpy(matrix.toarray())
    expected = torch.stack([torch.linalg.matrix_power(dense, power) @ x for power in range(layers + 1)]).mean(0)
    torch.testing.assert_close(mean_of_layers(adjacency, x, layers), expected)
    assert torch.autograd.gradcheck(lambda x: mean_of_layers(adjacency, x, layers) ** 2, (x,))
    assert torch.equal(x, given)


def test_some_rows_of_the_mean_and_their_gradient(matrix: sparse.csr_matrix) -> None:
    adjacency = Adjacency.of(matrix, dtype=torch.float64)
    x = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    rows = torch.tensor([7, 0, 7, 3])  # one of them twice
    picked = mean_of_layers(adjacency, x, 3, rows)
    torch.testing.assert_close(picked, mean_of_layers(adjacency, x, 3)[rows])
    later = mean_of_layers(adjacency, 2 * x, 3, rows)  # buffers are used again, results are not
    torch.testing.assert_close(later, 2 * picked)
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (ours,) = torch.autograd.grad((weight * picked).sum(), x)
    (whole,) = torch.autograd.grad((weight * mean_of_layers(adjacency, x, 3)[rows]).sum(), x)
    torch.testing.assert_close(ours, whole)


def test_the_close_order_brings_neighbors_together_and_keeps_the_graph() -> None:
    rng = np.random.default_rng(0)
    line = sparse.diags([np.ones(49), np.ones(49)], [-1, 1]).tocsr()
    shuffled = rng.permutation(50)
    mixed = sparse.csr_matrix(line[shuffled][:, shuffled])
    order = close_order(mixed)
    assert sorted(order.tolist()) == list(range(50))
    ordered = mixed[order][:, order].tocoo()
    assert np.abs(ordered.row - ordered.col).max() == 1  # the line again
    assert np.abs(mixed.tocoo().row - mixed.tocoo().col).max() > 20


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
