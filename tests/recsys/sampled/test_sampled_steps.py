"""What a step of training on drawn neighborhoods sees, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn.functional import logsigmoid

from features.catalog import Attributes
from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.csr import Adjacency
from graph.models.kg_gnn import KGGNN, GNNConfig
from graph.sampling.neighborhood import Neighborhood
from recsys.bench.indexed import bare_catalog
from recsys.held_out import Split
from recsys.models.gnn import KGGNNConfig
from recsys.models.knowledge import Knowledge
from recsys.models.lightgcn import LightGCNConfig, SampledLightGCN, two_way
from recsys.models.model import changed
from recsys.models.sampled_pairs import SampledPairLearner
from recsys.negatives import draw_others
from recsys.parallel import Team
from recsys.sampled import LikedPairs, SamplingConfig, first_met
from recsys.training import SampledGNNLearner, TrainConfig
from tests.recsys.sampled.drawn import FANOUTS, N_ITEMS, N_USERS, PAIR


def learner(likes: Interactions, config: LightGCNConfig, team: Team | None = None) -> SampledPairLearner:
    matrix = likes.matrix(binary=True)
    time = first_met(likes, matrix) if config.sampling.past else None
    model = SampledLightGCN(matrix, time, config, seed=0, device="cpu")
    return SampledPairLearner(model, likes, config, team=team)


def dense_loss(trained: SampledPairLearner, config: LightGCNConfig, seed: int) -> tuple[float, torch.Tensor]:
    """The first step's BPR loss and gradient by dense matrices, the batch's pairs taken out of the graph."""
    model, pairs, n_users = trained.model, trained._pairs, trained._liked.shape[0]
    rng = np.random.default_rng(seed)
    run = pairs.epoch(config.batch_pairs, rng).runs[0]
    user, liked = pairs.user[run], pairs.item[run]
    other = draw_others(trained._liked, trained._pair_user, trained._chance, rng)[run]
    dense = two_way(trained._liked).toarray()
    dense[user, n_users + liked] = dense[n_users + liked, user] = 0
    node = model.node.detach().clone().requires_grad_()
    z = y = node
    for _ in range(config.layers):
        y = torch.from_numpy(dense) @ y
        z = z + y
    z = z / (config.layers + 1)
    scores = [(z[user] * z[n_users + item]).sum(dim=1) for item in (liked, other)]
    squares = sum((node[rows] ** 2).sum() for rows in (user, n_users + liked, n_users + other))
    loss = -logsigmoid(scores[0] - scores[1]).mean() + config.penalty / 2 / len(run) * squares
    (gradient,) = torch.autograd.grad(loss, node)
    return loss.item(), gradient


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_loss_and_gradient_with_all_neighbors_are_the_whole_graphs_without_the_batch(layers: int, split: Split) -> None:
    changes = {"dim": 4, "start": 0.5, "batch_pairs": 30, "penalty": 0.1, "layers": layers}
    config = changed(LightGCNConfig(), {**changes, "sampling.fanouts": (-1,) * layers})
    trained = learner(split.train, config)
    loss = next(iter(trained.epoch(np.random.default_rng(5))))
    loss.backward()  # type: ignore[no-untyped-call]
    expected, gradient = dense_loss(trained, config, 5)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(trained.model.node.grad, gradient, rtol=1e-3, atol=1e-6)


def test_the_gnn_with_all_neighbors_sees_what_the_whole_graph_without_the_batch_tells(split: Split) -> None:
    colors = Attributes.of([(row, "color", f"c{row % 4}") for row in range(N_ITEMS)])
    known = Knowledge.of_ids(replace(bare_catalog(split.train.items), attributes=colors))
    graph = KGGNNConfig().graph_of(split.train, known)
    content = np.random.default_rng(3).standard_normal((N_ITEMS, 5)).astype(np.float32)
    drawing, whole = (KGGNN(graph, content, GNNConfig(dim=8), seed=0, fanouts=k) for k in ((-1, -1), ()))
    user, item = split.train.user_idx[:20], split.train.item_idx[:20]
    dense = drawing._behavior.matrix.toarray()
    dense[user, N_USERS + item] = dense[N_USERS + item, user] = 0
    whole._behavior = Adjacency.of(sparse.csr_matrix(dense))
    hidden, gain = torch.from_numpy(np.arange(N_ITEMS) % 5 == 0), torch.tensor([0.0, 2, 2, 0, 2])
    users, items = np.array([4, 1, 9]), np.array([3, 0, 30])
    drawn = drawing.neighborhoods.draw(drawing.rows(users, items), without=drawing.rows(user, item).view(2, -1), seed=0)
    found = drawing.near(drawn, 3, torch.from_numpy(items), hidden, gain)
    users_z, items_z, prior = whole(hidden, gain)
    for one, other in zip(found, (users_z[users], items_z[items], prior[items]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert "knowledge" in drawn.steps[0]
    again = KGGNN(graph, content, GNNConfig(dim=8), seed=0)
    for one, other in zip(drawing(hidden, gain), again(hidden, gain), strict=True):  # block by block
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_gnn_sees_what_a_graph_of_the_events_before_a_moment_tells() -> None:
    rng, n = np.random.default_rng(4), 200
    users, items = (Vocabulary.of(f"{kind}{row}" for row in range(size)) for kind, size in (("u", 12), ("i", 9)))
    kinds = rng.choice(np.array(["view", "like", "hide"], dtype=object), n)
    train = Interactions(
        users, items, rng.integers(0, 12, n), rng.integers(0, 9, n), kinds, rng.random(n, dtype=np.float32) + 0.5,
        rng.permutation(n).astype(np.float64),
    )  # fmt: skip
    colors = Attributes.of([(row, "color", f"c{row % 3}") for row in range(9)])
    known = Knowledge.of_ids(replace(bare_catalog(items), attributes=colors))
    of = changed(KGGNNConfig(), {"graph.events": ("view", "like")})
    content, shape = rng.standard_normal((9, 5)).astype(np.float32), GNNConfig(dim=8)
    drawing = KGGNN(of.graph_of(train, known), content, shape, seed=0, fanouts=(-1, -1), past=train)
    then = KGGNN(of.graph_of(train.before(70.0), known), content, shape, seed=0)
    whole = KGGNN(of.graph_of(train, known), content, shape, seed=0)
    whole._behavior = then._behavior
    rows, nothing = drawing.rows(np.arange(12), np.arange(9)), torch.zeros((2, 0), dtype=torch.int64)
    drawn = drawing.neighborhoods.draw(rows, without=nothing, seed=0, before=70.0)
    found = drawing.near(drawn, 12, torch.arange(9))
    for one, other in zip(found, whole(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    later = KGGNN(of.graph_of(train, known), content, shape, seed=0)
    assert not torch.allclose(found[0], later()[0], atol=0.01)


@pytest.mark.parametrize("name", list(FANOUTS))
def test_no_step_sees_an_edge_it_predicts_nor_one_of_its_future(name: str, split: Split) -> None:
    train = split.train
    if "gnn" in name:
        graph = KGGNNConfig().graph_of(train, Knowledge.of_ids(bare_catalog(train.items)))
        past = "past" in name
        config = TrainConfig(sampling=SamplingConfig(fanouts=(5, 3), others=10, batch_pairs=50, past=past))
        empty, shape = np.zeros((N_ITEMS, 1), np.float32), GNNConfig(dim=4)
        model = KGGNN(graph, empty, shape, seed=0, fanouts=(5, 3), past=train if past else None)
        trained: Any = SampledGNNLearner(model, train, config)
    else:
        trained = learner(train, changed(LightGCNConfig(), {**FANOUTS[name], "dim": 4, "sampling.batch_pairs": 50}))
    drawing, steps = trained.model.neighborhoods.draw, []

    def watched(rows: torch.Tensor, *, without: torch.Tensor, seed: int, before: float | None = None) -> Neighborhood:
        drawn = drawing(rows, without=without, seed=seed, before=before)
        steps.append((without, before, drawn))
        return drawn

    trained.model.neighborhoods.draw = watched
    list(trained.epoch(np.random.default_rng(5)))
    when = {(u, N_USERS + i): t for u, i, t in zip(train.user_idx, train.item_idx, train.timestamp, strict=True)}
    predicted: list[tuple[int, int]] = []
    n_seen = 0
    for without, before, drawn in steps:
        batch = set(zip(*without.tolist(), strict=True))
        predicted += batch
        for relations in drawn.steps:
            for step in relations.values():
                row, column = step.matrix.tensor().to_dense().nonzero().T
                ends = drawn.node[torch.stack([row, column])].sort(dim=0).values
                seen = set(zip(*ends.tolist(), strict=True))
                n_seen += len(seen)
                assert not seen & batch
                if "past" in name:
                    assert before == min(when[pair] for pair in batch)
                    assert all(when[pair] < before for pair in seen)
    assert n_seen > 100
    assert sorted(predicted) == sorted(when), "each pair is predicted once an epoch"


def test_the_mean_of_the_teams_gradients_is_that_of_the_whole_batch(split: Split) -> None:
    config = changed(LightGCNConfig(), {**PAIR, "dim": 4, "sampling.fanouts": (-1, -1)})

    def gradient(team: Team) -> torch.Tensor:
        trained = learner(split.train, config, team)
        next(iter(trained.epoch(np.random.default_rng(5)))).backward()  # type: ignore[no-untyped-call]
        assert trained.model.node.grad is not None
        return trained.model.node.grad

    parts = torch.stack([gradient(Team(rank, 3)) for rank in range(3)])
    torch.testing.assert_close(parts.mean(dim=0), gradient(Team()), rtol=1e-4, atol=1e-7)


def test_a_pair_is_from_the_time_it_was_first_met() -> None:
    names = (Vocabulary.of(("a", "b")), Vocabulary.of(("x", "y")))
    user, item = np.array([1, 0, 1, 1]), np.array([0, 1, 1, 0])
    kinds, time = np.full(4, "view", dtype=object), np.array([5.0, 3, 9, 2])
    train = Interactions(*names, user, item, kinds, np.ones(4, dtype=np.float32), time)
    assert first_met(train, train.matrix(binary=True)).tolist() == [3.0, 2.0, 9.0]
    with pytest.raises(InputError, match=r"sampling\.past needs a timestamp of every event, the training events carry"):
        first_met(replace(train, timestamp=None), train.matrix(binary=True))
    with pytest.raises(InputError, match="training event 2 has none"):
        first_met(replace(train, timestamp=np.array([5.0, 3, np.nan, 2])), train.matrix(binary=True))


def test_candidates_of_a_batch_are_its_items_and_a_sample_of_the_others() -> None:
    liked = sparse.csr_matrix((np.arange(60).reshape(3, 20) % 3 == 0).astype(np.float32))
    pairs = LikedPairs(liked, None)
    rows = np.array([4, 0, 9])
    batch = pairs.batch(rows, 6, np.random.default_rng(0))
    assert batch.users[batch.user].tolist() == pairs.user[rows].tolist()
    assert batch.items[batch.item].tolist() == pairs.item[rows].tolist()
    own = np.isin(batch.items, pairs.item[rows])
    assert (np.diff(batch.items) > 0).all()
    assert (batch.log_inclusion[own] == 0).all()
    n_liked = len(np.unique(liked.indices))
    np.testing.assert_allclose(batch.log_inclusion[~own], np.log(6 / (n_liked - own.sum())), rtol=1e-6)
    assert (~own).sum() == 6
