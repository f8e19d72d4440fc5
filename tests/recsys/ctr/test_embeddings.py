from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import trainer
from recsys.ctr import embeddings
from recsys.ctr.knowledge import FactGraph
from recsys.ctr.metrics import auc
from recsys.ctr.model import Predictor, Task
from recsys.ctr.ratings import Ratings
from recsys.ctr.registry import MODELS

Sides = tuple[Ratings, Ratings, Ratings]
TRAINED = ("mf", "lightgcn", "relational")


def fit(name: str, sides: Sides, facts: FactGraph, run_dir: Path, seed: int = 0) -> Predictor:
    return MODELS[name].fit(Task(sides[0], sides[1], facts, seed, run_dir))


def on_test(fitted: Predictor, sides: Sides) -> float:
    return auc(sides[2].label, fitted.probability(sides[2].user_idx, sides[2].item_idx))


@pytest.fixture(scope="module")
def fitted(sides: Sides, facts: FactGraph, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    run_dir = tmp_path_factory.mktemp("run")
    return {name: fit(name, sides, facts, run_dir) for name in ("popularity", *TRAINED)}


def test_relational_attention_finds_the_taste_that_only_the_facts_know(
    fitted: dict[str, Predictor], sides: Sides
) -> None:
    achieved = {name: on_test(model, sides) for name, model in fitted.items()}
    assert achieved["relational"] > 0.85
    assert achieved["popularity"] < 0.6
    assert achieved["relational"] > achieved["mf"] + 0.05
    assert achieved["relational"] > achieved["lightgcn"] + 0.05


@pytest.mark.parametrize("name", TRAINED)
def test_one_seed_gives_the_same_numbers_and_another_others(
    name: str, fitted: dict[str, Predictor], sides: Sides, facts: FactGraph, tmp_path: Path
) -> None:
    rows = sides[2].user_idx, sides[2].item_idx
    first = fitted[name].probability(*rows)
    np.testing.assert_array_equal(fit(name, sides, facts, tmp_path).probability(*rows), first)
    assert not np.array_equal(fit(name, sides, facts, tmp_path, seed=1).probability(*rows), first)


class CutError(Exception):
    """The power goes off."""


def test_a_training_cut_off_ends_with_the_numbers_of_an_uninterrupted_one(
    fitted: dict[str, Predictor], sides: Sides, facts: FactGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = trainer._Loop._step, [5]

    def step(self: trainer._Loop[Ratings], *args: object) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise CutError
        return whole(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(trainer._Loop, "_step", step)
        with pytest.raises(CutError):
            fit("relational", sides, facts, tmp_path)
    rows = sides[2].user_idx, sides[2].item_idx
    resumed = fit("relational", sides, facts, tmp_path)
    np.testing.assert_array_equal(resumed.probability(*rows), fitted["relational"].probability(*rows))


@pytest.mark.parametrize("name", TRAINED)
def test_one_batch_is_learned_by_heart(name: str, sides: Sides, facts: FactGraph, tmp_path: Path) -> None:
    some = sides[0].where(np.arange(0, len(sides[0]), 12))
    build = {"mf": embeddings._mf, "lightgcn": embeddings._lightgcn, "relational": embeddings._relational}[name]
    free = embeddings.RatingLoopConfig(weight_decay=0, epochs=100, evaluate_every=100, learning_rate=0.03)
    by_heart = embeddings.fit_embeddings(name, build, Task(some, some, facts, 0, tmp_path), free)
    assert auc(some.label, by_heart.probability(some.user_idx, some.item_idx)) > 0.995


def test_an_embedded_probability_is_that_of_the_models_logit(sides: Sides, facts: FactGraph, tmp_path: Path) -> None:
    import torch

    given = Task(*sides[:2], facts, 0, tmp_path)
    model = embeddings.Rated(embeddings._relational(given, "cpu"), len(given.train.items), scale=3.0)
    with torch.no_grad():
        model.offset += 0.5
        model.pairs.inner.bias += torch.randn(len(given.train.items), generator=torch.Generator().manual_seed(0))
    learner = embeddings.RatingLearner(model, given.train, embeddings.RatingLoopConfig(), device="cpu")
    look = learner.look(given.valid)
    found = embeddings.Embedded(look.embeddings["users"].numpy(), look.embeddings["items"].numpy())
    rows = given.valid.user_idx, given.valid.item_idx
    with torch.no_grad():
        expected = torch.sigmoid(model(*map(torch.from_numpy, rows))).numpy()
    np.testing.assert_allclose(found.probability(*rows), expected, rtol=1e-4)
