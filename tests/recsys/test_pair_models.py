"""The formulas of the pair models, against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from graph.directed import Directed, propagate_directed
from graph.neighbors import Neighbors
from recsys.losses import bpr_loss
from recsys.models.freedom import Freedom, FreedomConfig, item_graph
from recsys.models.lightgcn import LightGCN, LightGCNConfig
from recsys.models.vbpr import VBPR, VBPRConfig
from recsys.negatives import draw_others


@pytest.fixture
def likes() -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    liked = rng.random((7, 9)) < 0.4
    liked[3] = False  # a user who likes nothing
    return sparse.csr_matrix(liked.astype(np.float32))


def dense_two_way(likes: sparse.csr_matrix) -> np.ndarray:
    liked = likes.toarray()
    whole = np.block([[np.zeros((7, 7)), liked], [liked.T, np.zeros((9, 9))]])
    degree = whole.sum(axis=1)
    root = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    return root[:, None] * whole * root


def test_lightgcn_is_the_mean_of_the_powers_of_the_normalized_graph(likes: sparse.csr_matrix) -> None:
    model = LightGCN(likes, LightGCNConfig(dim=4, layers=3), seed=0, device="cpu")
    start = model.node.detach().numpy()[model._place.numpy()]
    a = dense_two_way(likes)
    expected = (start + a @ start + a @ a @ start + a @ a @ a @ start) / 4
    seen = model(torch.arange(7), torch.arange(9))
    np.testing.assert_allclose(torch.cat([seen.users, seen.items]).detach(), expected, rtol=1e-4, atol=1e-6)
    assert not seen.users[3].any(), "who met nobody is nowhere"
    rows = torch.tensor([5, 5, 0])
    np.testing.assert_allclose(model(rows, rows).items.detach(), expected[7:][rows], rtol=1e-4, atol=1e-6)
    wanted = (start[[5, 0]] ** 2).sum() + (start[7 + 2] ** 2).sum()
    assert model.squares(torch.tensor([5, 0]), torch.tensor([2])).item() == pytest.approx(wanted, rel=1e-5)


def test_vbpr_adds_what_the_user_hears_of_the_content_and_two_biases() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((5, 3)).astype(np.float32)
    model = VBPR(4, features, VBPRConfig(dim=2, content_dim=2), seed=0)
    model.pleasing.data = torch.tensor([1.0, -2.0, 0.5])
    model.bias.data = torch.arange(5.0)
    p, q, t, e = (part.detach().numpy() for part in (model.user, model.item, model.taste, model.projection))
    seen = model(torch.arange(4), torch.arange(5))
    assert seen.bias is not None
    scores = (seen.users @ seen.items.T + seen.bias).detach().numpy()
    for user in range(4):
        for item in range(5):
            expected = item + p[user] @ q[item] + t[user] @ (features[item] @ e) + features[item] @ [1, -2, 0.5]
            assert scores[user, item] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_freedoms_item_graph_weighs_its_modalities_and_scales_by_the_neighbors_of_both_ends() -> None:
    text = Neighbors(np.array([[1, 2], [0, -1], [0, 1], [-1, -1]]), np.zeros((4, 2), dtype=np.float32))
    image = Neighbors(np.array([[3], [-1], [-1], [0]]), np.zeros((4, 1), dtype=np.float32))
    both = item_graph({"text": text, "image": image}, 0.1, 4).toarray()
    assert both[0, 1] == pytest.approx(0.9 / np.sqrt(2 * 1))  # item 0 has two neighbors by text, item 1 one
    assert both[0, 2] == pytest.approx(0.9 / 2)
    assert both[1, 2] == 0, "1 has 2 for no neighbor, though 2 has 1"
    assert both[2, 1] == pytest.approx(0.9 / np.sqrt(2 * 1))
    assert both[0, 3] == both[3, 0] == pytest.approx(0.1)
    alone = item_graph({"image": image}, 0.1, 4).toarray()
    assert alone[0, 3] == pytest.approx(1.0), "a modality that is alone has all"
    assert item_graph({}, 0.1, 4).nnz == 0


def freedom(likes: sparse.csr_matrix, alike: sparse.csr_matrix, **settings: float) -> Freedom:
    return Freedom(likes, alike, [], FreedomConfig.model_validate({"dim": 3, **settings}), seed=0, device="cpu")


def test_freedom_moves_items_by_their_alike_ones_and_thins_the_graph_when_it_learns(likes: sparse.csr_matrix) -> None:
    rng = np.random.default_rng(1)
    alike = sparse.csr_matrix((rng.random((9, 9)) * (rng.random((9, 9)) < 0.3)).astype(np.float32))
    model = freedom(likes, alike, layers=1, item_layers=1, dropped=0.5)
    start = model.node.detach().numpy()
    whole = (start + dense_two_way(likes) @ start) / 2

    def items() -> np.ndarray:
        found: np.ndarray = model(torch.arange(7), torch.arange(9)).items.detach().numpy()
        return found

    expected = whole[7:] + alike.toarray() @ start[7:]
    np.testing.assert_allclose(items(), expected, rtol=1e-4, atol=1e-6)
    model.begin_epoch(np.random.default_rng(0))
    assert model._graph.n_entries == 2 * round(0.5 * likes.nnz)
    assert not np.allclose(items(), expected, atol=1e-3)
    model.begin_look()
    np.testing.assert_allclose(items(), expected, rtol=1e-4, atol=1e-6)


def test_edges_between_the_busiest_are_left_out_most() -> None:
    liked = np.eye(20, dtype=np.float32)
    liked[0] = liked[:, 0] = 1  # user 0 and item 0 are busy; the edge (0, 0) is between both
    model = freedom(sparse.csr_matrix(liked), sparse.csr_matrix((20, 20), dtype=np.float32), dropped=0.5)
    kept = np.zeros((20, 20))
    for seed in range(200):
        model.begin_epoch(np.random.default_rng(seed))
        kept += model._graph.matrix.to_dense().numpy()[:20, 20:] > 0
    assert kept[np.arange(1, 20), np.arange(1, 20)].mean() > kept[0, 1:].mean() > kept[0, 0]


def test_a_directed_product_has_the_gradient_of_the_dense_one() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((5, 8)) * (rng.random((5, 8)) < 0.5)
    directed = Directed.of(sparse.csr_matrix(dense.astype(np.float32)))
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    given = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    product = propagate_directed(directed, x)
    product.backward(given)
    np.testing.assert_allclose(product.detach(), dense @ x.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(x.grad, dense.T @ given.numpy(), rtol=1e-4, atol=1e-6)


def test_bpr_is_the_mean_log_loss_of_the_gap_and_may_weigh_pairs() -> None:
    liked, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    one, two = np.log1p(np.exp(-1)), np.log1p(np.exp(2))
    assert bpr_loss(liked, other).item() == pytest.approx((one + two) / 2)
    assert bpr_loss(liked, other, weight=torch.tensor([3.0, 1.0])).item() == pytest.approx((3 * one + two) / 4)


def test_others_are_never_liked_ones_and_follow_their_chances(likes: sparse.csr_matrix) -> None:
    likes.sort_indices()
    chance = np.cumsum([0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0, 0])
    users = np.repeat(np.arange(7), 3000)
    drawn = draw_others(likes, users, chance, np.random.default_rng(0), rounds=50)
    assert not likes.toarray()[users, drawn].any()
    shares = np.bincount(drawn[users == 3], minlength=9) / 3000
    np.testing.assert_allclose(shares, [0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0, 0], atol=0.03)
    everything = sparse.csr_matrix(np.ones((1, 9), dtype=np.float32))
    assert len(draw_others(everything, np.zeros(4, dtype=np.int64), chance, np.random.default_rng(0))) == 4
