"""Training on drawn neighborhoods, against dense graphs and against what every trained model keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import torch

from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.models.kg_gnn import KGGNN, GNNConfig
from recsys import trainer
from recsys.bench.indexed import bare_catalog
from recsys.held_out import Split
from recsys.models.gnn import KGGNNConfig
from recsys.models.knowledge import Knowledge
from recsys.models.lightgcn import LightGCNConfig
from recsys.models.model import changed
from recsys.training import TrainConfig
from tests.recsys.sampled.drawn import FANOUTS, N_USERS, events, fit


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
