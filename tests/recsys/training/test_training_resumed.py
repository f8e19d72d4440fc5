"""Training that is repeated, cut off, gone on with, or ended early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.encoders.embeddings import Embeddings, ItemVectors
from features.errors import InputError
from graph.build import GraphConfig
from recsys import trainer
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.training import FittedGNN, TrainConfig
from tests.recsys.training.parity import MODEL, N_ITEMS, TRAIN, World


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(
    world: World, fitted: FittedGNN, tmp_path: Path
) -> None:
    again, other = world.fit(tmp_path), world.fit(tmp_path, seed=1)
    np.testing.assert_array_equal(again.item_embeddings, fitted.item_embeddings)
    np.testing.assert_array_equal(again.user_embeddings, fitted.user_embeddings)
    assert again.history == fitted.history
    assert not np.allclose(other.item_embeddings, fitted.item_embeddings)


class CutError(Exception):
    """The power goes off."""


def cut_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    left = [steps]
    whole = trainer._Loop._step

    def step(self: trainer._Loop, *args: object) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise CutError
        return whole(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer._Loop, "_step", step)


@pytest.mark.parametrize("steps", [1, 19, 20, 75])
def test_a_run_cut_off_anywhere_ends_with_the_numbers_of_an_uninterrupted_one(
    steps: int, world: World, fitted: FittedGNN, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, steps)
        with pytest.raises(CutError):
            world.fit(tmp_path)
    resumed = world.fit(tmp_path)
    np.testing.assert_array_equal(resumed.item_embeddings, fitted.item_embeddings)
    np.testing.assert_array_equal(resumed.user_embeddings, fitted.user_embeddings)
    assert (resumed.history, resumed.best_epoch) == (fitted.history, fitted.best_epoch)


def test_a_resumed_run_does_not_repeat_what_is_done(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.fit(tmp_path)
    cut_after(monkeypatch, 0)
    np.testing.assert_array_equal(world.fit(tmp_path).item_embeddings, first.item_embeddings)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {"config": TRAIN.model_copy(update={"learning_rate": 0.005})},
        lambda w: {"model": MODEL.model_copy(update={"layers": 1})},
        lambda w: {"train": w.train.where(np.arange(len(w.train)) > 0)},
        lambda w: {"valid": w.valid.where(np.arange(len(w.valid)) > 0)},
        lambda w: {"vectors": ItemVectors(w.vectors.text, Embeddings.missing(N_ITEMS, 6, "i"))},
        lambda w: {"seed": 3},
    ],
)
def test_a_changed_input_or_setting_starts_afresh(
    change: Callable[[World], dict[str, object]], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fit(tmp_path)
    cut_after(monkeypatch, 0)
    with pytest.raises(CutError):
        world.fit(tmp_path, **change(world))  # type: ignore[arg-type]


def test_events_beside_the_graph_start_afresh_too(world: World, tmp_path: Path) -> None:
    more = world.train.where(np.repeat(np.arange(len(world.train)), 2))
    kinds = np.where(np.arange(len(more)) % 2, "like", "view").astype(object)
    turned = replace(more, event_type=kinds, item_idx=np.where(kinds == "view", more.item_idx ^ 1, more.item_idx))
    short, of = TRAIN.model_copy(update={"epochs": 3}), GraphConfig(events=("like",))
    for train in (world.train, turned):  # whose graphs are the same
        world.fit(tmp_path, train=train, graph_config=of, config=short)
    fresh = world.fit(tmp_path / "fresh", train=turned, graph_config=of, config=short)
    again = world.fit(tmp_path, train=turned, graph_config=of, config=short)
    np.testing.assert_array_equal(again.item_embeddings, fresh.item_embeddings)
    assert len(list(tmp_path.glob("gnn-*"))) == 2


@pytest.mark.parametrize("model", ["gnn", "mf", "denoiser"])
def test_another_version_of_the_product_starts_afresh(
    model: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split("by hand", world.train, world.valid, world.valid.where(np.zeros(0, dtype=np.int64)))
    config = changed(MODELS[model].config, {("train.epochs" if model == "gnn" else "epochs"): 2})
    for number in ("1", "1", "2"):
        monkeypatch.setattr("recsys.objective.version", lambda _, number=number: number)
        MODELS[model].fit(split, Knowledge.of_ids(world.catalog), config, Job(0, tmp_path))
    assert len(list(tmp_path.glob(f"{model}-*/checkpoint.safetensors"))) == 2


def test_a_damaged_checkpoint_is_refused_by_name(world: World, tmp_path: Path) -> None:
    world.fit(tmp_path, config=TrainConfig(epochs=3))
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
        world.fit(tmp_path, config=TrainConfig(epochs=3))


def test_training_stops_when_validation_no_longer_improves(world: World, tmp_path: Path) -> None:
    fitted = world.fit(tmp_path, config=TrainConfig(epochs=500, patience=2))
    assert fitted.history[-1]["epoch"] < 500
    assert fitted.history[-1]["epoch"] == fitted.best_epoch + 2 * TRAIN.evaluate_every
    assert fitted.best_epoch == max(fitted.history, key=lambda entry: entry["recall@20"])["epoch"]


def test_a_time_budget_ends_training_with_a_look_and_says_so(world: World, tmp_path: Path) -> None:
    fitted = world.fit(tmp_path, config=TrainConfig(epochs=500, time_budget_s=1e-9))
    assert fitted.cut_short
    assert [entry["epoch"] for entry in fitted.history] == [1]
    assert fitted.best_epoch == 1
    again = world.fit(tmp_path, config=TrainConfig(epochs=500, time_budget_s=1e-9))
    assert len(again.history) == 1, "a resumed run knows what it spent"
    assert not world.fit(tmp_path, config=TrainConfig(epochs=3, time_budget_s=1000.0)).cut_short


def test_without_validation_pairs_the_last_epoch_counts(world: World, tmp_path: Path) -> None:
    none = world.valid.where(np.zeros(len(world.valid), dtype=bool))
    fitted = world.fit(tmp_path, valid=none, config=TrainConfig(epochs=10))
    assert fitted.best_epoch == 10
    assert np.isnan(fitted.history[-1]["recall@20"])


def test_relational_attention_over_another_graph_of_the_same_pairs_starts_afresh(world: World, tmp_path: Path) -> None:
    bought = replace(world.train, event_type=np.full(len(world.train), "purchase", dtype=object))
    for train in (world.train, world.train, bought):
        split = Split("by hand", train, world.valid, world.valid.where(np.zeros(0, dtype=np.int64)))
        config = changed(MODELS["relational"].config, {"epochs": 1, "dim": 4})
        MODELS["relational"].fit(split, Knowledge.of_ids(world.catalog), config, Job(0, tmp_path))
    assert len(list(tmp_path.glob("relational-*/checkpoint.safetensors"))) == 2
