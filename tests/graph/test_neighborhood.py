"""Propagation over drawn neighborhoods, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from graph.blocks import Blocks
from graph.csr import Adjacency, mean_of_layers, normalized
from graph.sampling.neighborhood import Neighborhood, Neighborhoods

N = 24
NOTHING = torch.zeros((2, 0), dtype=torch.int64)


def symmetric(*, seed: int = 0, share: float = 0.15, n: int = N) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < share, 1) * rng.uniform(0.5, 2, (n, n))
    upper[:, 5] = upper[5, :] = 0  # nobody knows node 5
    return sparse.csr_matrix((upper + upper.T).astype(np.float32))


def mean(a: np.ndarray, x: np.ndarray, layers: int) -> np.ndarray:
    found = [x]
    for _ in range(layers):
        found.append(a @ found[-1])
    return np.mean(found, axis=0)


def propagated(drawn: Neighborhood, x: torch.Tensor) -> torch.Tensor:
    return drawn.mean_of_layers(x[drawn.node], lambda relations, y: relations["a"](y))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_with_all_edges_rows_and_gradient_are_those_of_the_graph_without_the_predicted_pairs(layers: int) -> None:
    graph = normalized(symmetric())
    pairs = np.array([[0, 1, 2], graph[:3].tocsr().indices[graph.indptr[:3]]])
    dense = graph.toarray()
    dense[pairs[0], pairs[1]] = dense[pairs[1], pairs[0]] = 0
    rows = torch.tensor([3, 0, 5, 3, int(pairs[1, 0])])
    start = torch.from_numpy(np.random.default_rng(1).standard_normal((N, 4)).astype(np.float32))
    x = start.clone().requires_grad_()
    drawn = Neighborhoods({"a": graph}, [-1] * layers).draw(rows, without=torch.from_numpy(pairs), seed=0)
    found = propagated(drawn, x)
    np.testing.assert_allclose(found.detach(), mean(dense, start.numpy(), layers)[rows], rtol=1e-4, atol=1e-5)
    y = start.clone().requires_grad_()
    expected, power = y, y
    for _ in range(layers):
        power = torch.from_numpy(dense) @ power
        expected = expected + power
    weight = torch.arange(20.0).view(5, 4)
    (found * weight).sum().backward()
    (expected[rows] / (layers + 1) * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)


def test_two_steps_over_some_edges_are_right_on_average() -> None:
    graph = normalized(symmetric(share=0.4))
    pairs = torch.tensor([[0], [int(graph.indices[0])]])
    dense = graph.toarray()
    dense[pairs[0], pairs[1]] = dense[pairs[1], pairs[0]] = 0
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((N, 3)).astype(np.float32))
    hoods = Neighborhoods({"a": graph}, [3, 2])
    rows = torch.tensor([0, 7])
    found = np.stack([propagated(hoods.draw(rows, without=pairs, seed=seed), x).numpy() for seed in range(3000)])
    expected = mean(dense, x.numpy(), 2)[rows]
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (error > 0).all()
    assert (abs(found.mean(axis=0) - expected) < 4 * error).all()


def test_fanouts_bound_what_is_drawn_and_later_steps_need_fewer_nodes() -> None:
    graph = symmetric(share=0.5)
    drawn = Neighborhoods({"a": graph, "b": graph}, [2, 1]).draw(torch.tensor([0, 1]), without=NOTHING, seed=0)
    first, last = drawn.steps
    assert len(last["a"].matrix.start) == 3
    assert last["a"].matrix.start.tolist() == [0, 2, 4]
    assert first["a"].matrix.start[:3].tolist() == [0, 2, 4]
    assert (first["a"].matrix.start.diff()[2:] == 1).all()
    assert first["a"].matrix.n_columns == len(drawn.node)
    assert len(torch.unique(drawn.node)) == len(drawn.node)


def test_no_edge_is_at_or_after_the_moment_and_weights_are_those_of_the_moment() -> None:
    graph = symmetric(share=0.4)
    rng = np.random.default_rng(2)
    when = np.triu(rng.permutation(N * N).reshape(N, N).astype(np.float64))
    when = when + when.T
    ends = graph.tocoo()
    hoods = Neighborhoods({"a": graph}, [-1, -1], times={"a": when[ends.row, ends.col]})
    x = rng.standard_normal((N, 3)).astype(np.float32)
    for now in (0.0, 200.0, 400.0, 1e9):
        then = np.where(when < now, graph.toarray(), 0)
        dense = normalized(sparse.csr_matrix(then)).toarray()
        drawn = hoods.draw(torch.arange(N), without=NOTHING, seed=0, before=now)
        for step in drawn.steps:
            matrix = step["a"].matrix.tensor().to_dense().numpy()
            row, column = np.nonzero(matrix)
            node = drawn.node.numpy()
            assert (when[node[row], node[column]] < now).all()
        np.testing.assert_allclose(propagated(drawn, torch.from_numpy(x)), mean(dense, x, 2), rtol=1e-4, atol=1e-5)


def test_one_seed_draws_the_same_and_another_does_not() -> None:
    hoods = Neighborhoods({"a": symmetric(share=0.5)}, [2, 2])

    def nodes(seed: int) -> list[int]:
        return hoods.draw(torch.tensor([0]), without=NOTHING, seed=seed).node.tolist()

    first = nodes(1)
    assert nodes(2) != first
    assert nodes(1) == first


@pytest.mark.parametrize("entries", [1, 7, 10_000])
def test_propagation_by_blocks_is_that_over_the_whole(entries: int) -> None:
    graph = normalized(symmetric(share=0.4))
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((N, 3)).astype(np.float32))
    blocks = Blocks(graph, entries=entries)
    torch.testing.assert_close(blocks.product(x), torch.from_numpy(graph.toarray()) @ x, rtol=1e-4, atol=1e-5)
    expected = mean_of_layers(Adjacency.of(graph), x, 3)
    torch.testing.assert_close(blocks.mean_of_layers(x, 3), expected, rtol=1e-4, atol=1e-5)
