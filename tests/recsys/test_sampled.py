"""Training on drawn neighborhoods, against dense graphs and against what every trained model keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
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
from recsys import trainer
from recsys.bench.indexed import bare_catalog
from recsys.held_out import Split
from recsys.models.gnn import KGGNNConfig
from recsys.models.knowledge import Knowledge
from recsys.models.lightgcn import LightGCNConfig, SampledLightGCN, two_way
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.models.sampled_pairs import SampledPairLearner
from recsys.negatives import draw_others
from recsys.parallel import Team
from recsys.sampled import LikedPairs, SamplingConfig, first_met
from recsys.scorer import Scorer
from recsys.split import random_split
from recsys.training import SampledGNNLearner, TrainConfig

N_USERS, N_ITEMS = 60, 40


def events(liked: np.ndarray) -> Interactions:
    """In random order of time, one event a second."""
    user, item = np.nonzero(liked)
    users, items = (
        Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in zip("ui", liked.shape, strict=True)
    )
    time = np.random.default_rng(7).permutation(len(user)).astype(np.float64)
    kinds = np.full(len(user), "like", dtype=object)
    return Interactions(users, items, user, item, kinds, np.ones(len(user), dtype=np.float32), time)


@pytest.fixture(scope="module")
def split() -> Split:
    """Even users like even items, odd users odd ones; low items are the popular ones."""
    rng = np.random.default_rng(0)
    liked = np.zeros((N_USERS, N_ITEMS), dtype=bool)
    for user in range(N_USERS):
        chance = (np.arange(N_ITEMS) % 2 == user % 2) / (np.arange(N_ITEMS) + 8.0)
        liked[user, rng.choice(N_ITEMS, size=12, replace=False, p=chance / chance.sum())] = True
    return random_split(events(liked), seed=0)


PAIR = {"dim": 16, "start": 0.1, "epochs": 12, "evaluate_every": 4, "batch_pairs": 128, "layers": 2}
FANOUTS: dict[str, dict[str, Any]] = {
    "bpr": PAIR | {"learning_rate": 0.03, "sampling.fanouts": (5, 3)},
    "softmax": PAIR | {"loss": "softmax", "learning_rate": 0.03, "sampling.fanouts": (5, 3), "sampling.others": 10},
    "past": PAIR | {"learning_rate": 0.03, "sampling.fanouts": (5, 3), "sampling.past": True},
    "gnn": {"model.dim": 16, "train.epochs": 12, "train.sampling.fanouts": (5, 3), "train.sampling.others": 10},
}
FANOUTS["gnn, past"] = FANOUTS["gnn"] | {"train.sampling.past": True}


def fit(name: str, split: Split, folder: Path, **extra: object) -> Scorer:
    model = MODELS["gnn" if "gnn" in name else "lightgcn"]
    known = Knowledge.of_ids(bare_catalog(split.train.items))
    return model.fit(split, known, changed(model.config, {**FANOUTS[name], **extra}), Job(0, folder))


@pytest.mark.parametrize("name", list(FANOUTS))
def test_planted_tastes_are_recovered_and_popularity_is_beaten(name: str, split: Split, tmp_path: Path) -> None:
    users = np.arange(N_USERS)
    seen, held_out = split.train.matrix(binary=True).toarray() > 0, split.test.matrix(binary=True).toarray() > 0
    popular = np.tile(seen.sum(axis=0).astype(float), (N_USERS, 1))
    scores = {"ours": fit(name, split, tmp_path).score(users).astype(float), "popular": popular}
    hits = {}
    for who, score in scores.items():
        score[seen] = -np.inf
        top = np.argsort(-score, axis=1, kind="stable")[:, :8]
        hits[who] = np.take_along_axis(held_out, top, axis=1).sum()
        if who == "ours":
            assert (top % 2 == users[:, None] % 2).mean() > 0.85
    assert hits["ours"] > 1.1 * hits["popular"]


class CutError(Exception):
    """The power goes off."""


@pytest.mark.parametrize("name", list(FANOUTS))
def test_a_cut_training_and_one_drawn_by_other_processes_end_with_the_same_numbers(
    name: str, split: Split, tmp_path: Path
) -> None:
    whole, left = trainer._Loop._step, [40]

    def step(self: trainer._Loop[Any], loss: torch.Tensor) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise CutError
        return whole(self, loss)

    users = np.arange(N_USERS)
    expected = fit(name, split, tmp_path / "whole").score(users)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer._Loop, "_step", step)
        with pytest.raises(CutError):
            fit(name, split, tmp_path / "cut")
    workers = "train.sampling.workers" if "gnn" in name else "sampling.workers"
    with structlog.testing.capture_logs() as told:
        np.testing.assert_array_equal(fit(name, split, tmp_path / "cut", **{workers: 1}).score(users), expected)
    assert "training goes on" in [one["event"] for one in told]
    np.testing.assert_array_equal(fit(name, split, tmp_path / "ahead", **{workers: 2}).score(users), expected)


@pytest.mark.parametrize("name", ["past", "gnn, past"])
def test_what_was_learned_of_the_past_is_not_taken_for_that_of_another_past(
    name: str, split: Split, tmp_path: Path
) -> None:
    assert split.train.timestamp is not None
    turned = replace(split, train=replace(split.train, timestamp=-split.train.timestamp))
    scores = [fit(name, one, tmp_path).score(np.arange(N_USERS)) for one in (split, turned)]
    assert not np.array_equal(*scores)


def test_a_shop_of_which_nothing_is_known_has_neighborhoods_of_single_nodes() -> None:
    nobody = Interactions.empty(Vocabulary(("u",)), Vocabulary(("a", "b")))
    graph = KGGNNConfig().graph_of(nobody, Knowledge.of_ids(bare_catalog(nobody.items)))
    model = KGGNN(graph, np.ones((2, 1), np.float32), GNNConfig(dim=2), seed=0, fanouts=(2, 2))
    rows = model.rows(np.array([0]), np.array([1]))
    drawn = model.neighborhoods.draw(rows, without=torch.zeros((2, 0), dtype=torch.int64), seed=0)
    assert drawn.node.tolist() == rows.tolist()
    users, items, _ = model.near(drawn, 1, torch.tensor([1]))
    torch.testing.assert_close(torch.cat([users, items]), torch.cat([model()[0], model()[1][1:]]))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_one_batch_is_learned_by_heart(loss: str, tmp_path: Path) -> None:
    train = events(np.eye(8, dtype=bool))  # every user likes one item, and nobody else does
    nothing = train.where(np.zeros(8, dtype=bool))
    extra = {"epochs": 80, "evaluate_every": 80, "learning_rate": 0.1, "penalty": 0, "sampling.fanouts": (2, 2)}
    scorer = fit(loss, Split("one", train, nothing, nothing), tmp_path, **extra)
    assert (scorer.score(np.arange(8)).argmax(axis=1) == np.arange(8)).all()


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


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bpr", {"sampling.fanouts": (5,)}, r"a number for each of the 2 layers, got \[5\]"),
        ("bpr", {"sampling.fanouts": (5, 0)}, r"must be above 0, or -1 for all, got 0"),
        ("gnn", {"train.sampling.fanouts": (5, 3, 2)}, r"a number for each of the 2 layers, got \[5, 3, 2\]"),
        ("gnn, past", {"graph.together": 3}, r"as it was before a batch, which graph\.together is not made for"),
        ("gnn, past", {"graph.half_life_days": 3.0}, r"graph\.half_life_days is not made for"),
        ("gnn, past", {"graph.look_alikes": ("text", "reviews")}, r"graph\.look_alikes is not made for"),
        ("gnn, past", {"recency": 0.5}, r"train\.sampling\.past does not know"),
        ("gnn", {"model.precision": "bfloat16"}, r"float32, model\.precision is 'bfloat16'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    name: str, changes: dict[str, object], message: str, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fit(name, split, tmp_path, **changes)


def test_the_past_alone_cannot_be_asked_of_training_on_the_whole_graph() -> None:
    with pytest.raises(ValueError, match=r"past is seen by drawn neighborhoods alone: give sampling\.fanouts"):
        changed(LightGCNConfig(), {"sampling.past": True})


def test_settings_of_before_are_written_as_they_were() -> None:
    assert "sampling" not in LightGCNConfig().model_dump()
    assert "sampling" not in TrainConfig().model_dump_json()
    used = changed(LightGCNConfig(), {"sampling.fanouts": (3,)})
    assert LightGCNConfig.model_validate_json(used.model_dump_json()) == used
