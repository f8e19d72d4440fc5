from __future__ import annotations

import numpy as np
import pytest
import torch

from graph.incidence import Incidence

ENDS = np.array([2, 0, 2, 3, 2])


@pytest.fixture
def incidence() -> Incidence:
    """Five edges, nodes 0 to 4; nobody ends in 1 or 4."""
    return Incidence(ENDS, 5)


def test_an_edge_takes_its_nodes_row_and_a_node_the_sum_of_its_edges(incidence: Incidence) -> None:
    x = torch.arange(10.0).reshape(5, 2)
    assert incidence.take(x).tolist() == x[ENDS].tolist()
    messages = torch.tensor([[1.0, 0], [2, 0], [4, 0], [8, 1], [16, 1]])
    assert incidence.collect(messages).tolist() == [[2, 0], [0, 0], [21, 1], [8, 1], [0, 0]]


def test_each_is_the_gradient_of_the_other(incidence: Incidence) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    m = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    (by_take,) = torch.autograd.grad((incidence.take(x) * weight).sum(), x)
    (plain,) = torch.autograd.grad((x[torch.from_numpy(ENDS)] * weight).sum(), x)
    torch.testing.assert_close(by_take, plain)
    (by_collect,) = torch.autograd.grad((incidence.collect(m) * weight).sum(), m)
    torch.testing.assert_close(by_collect, weight[torch.from_numpy(ENDS)])


def test_shares_are_the_softmax_of_each_nodes_edges_and_so_are_their_gradients(incidence: Incidence) -> None:
    logits = torch.tensor([100.0, -3.0, 101.0, 0.5, 98.0], requires_grad=True)
    shares = incidence.softmax(logits)
    at_two = torch.tensor([0, 2, 4])
    expected = torch.softmax(logits[at_two], dim=0)
    torch.testing.assert_close(shares[at_two], expected)
    assert shares[[1, 3]].tolist() == [1, 1]
    weight = torch.tensor([1.0, 2, 3, 4, 5])
    (ours,) = torch.autograd.grad((shares * weight).sum(), logits)
    (theirs,) = torch.autograd.grad((torch.softmax(logits[at_two], dim=0) * weight[at_two]).sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_no_edges_say_nothing() -> None:
    nobody = Incidence(np.zeros(0, dtype=np.int64), 3)
    assert nobody.collect(torch.zeros(0, 2)).tolist() == [[0, 0]] * 3
    assert nobody.softmax(torch.zeros(0)).shape == (0,)


def test_an_end_that_is_no_node_is_refused_by_edge() -> None:
    with pytest.raises(ValueError, match=r"ends must be in \[0, 3\), edge 1 has 3"):
        Incidence(np.array([0, 3]), 3)
