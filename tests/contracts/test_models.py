"""What every model of the registry keeps: one suite, run on each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import Embeddings
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.vocabulary import Vocabulary
from recsys import trainer
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.scorer import Scorer
from recsys.split import random_split

N_USERS, N_ITEMS = 90, 50
NAMES = tuple(MODELS)
PERSONAL = tuple(name for name in NAMES if name not in ("random", "popularity"))
PAIR = {"dim": 16, "start": 0.1, "epochs": 20, "evaluate_every": 5, "batch_pairs": 128, "learning_rate": 0.02}
GNN = {"model.dim": 16, "train.epochs": 30}
CLOSED = {"side_weight": (0.3,), "neighbors": 5}
DENOISER = {"dim": 16, "epochs": 30}
SMALL: dict[str, dict[str, Any]] = {
    "mf": PAIR,
    "lightgcn": PAIR,
    "vbpr": PAIR | {"content_dim": 8},
    "freedom": PAIR | {"dropped": 0.5, "neighbors": 5},
    "relational": PAIR | {"layers": 2},
    "gnn": GNN,
    "ease": CLOSED,
    "ease_side": CLOSED,
    "walk": CLOSED,
    "walk_side": CLOSED,
    "spectral": CLOSED,
    "spectral_side": CLOSED,
    "denoiser": DENOISER,
    "denoiser_side": DENOISER | {"content_dim": 8, "min_owners": 2},
    "flagship": {
        **{f"walk.{name}": value for name, value in CLOSED.items()},
        **{f"ease.{name}": value for name, value in CLOSED.items()},
        **{f"spectral.{name}": value for name, value in CLOSED.items()},
        **{f"denoiser.{name}": value for name, value in DENOISER.items()},
        **{f"{gnn}.{name}": value for gnn in ("gnn", "gnn_dense") for name, value in GNN.items()},
    },
    "als": {"als_alphas": (10.0,), "als_penalties": (0.03, 0.1), "als_factors": (8, 4)},
    "bpr": {"bpr_rates": (0.05,), "bpr_penalties": (0.01,), "bpr_factors": (8, 4)},
    "item_knn": {"knn_neighbors": (20, 5)},
    "content": {"image_shares": (0.0, 0.5)},
}
"""Settings that suit a tiny data set; a model that is not here keeps its defaults."""
TRAINED = ("mf", "lightgcn", "vbpr", "freedom", "relational", "denoiser", "denoiser_side", "gnn")
"""Models of the one training loop."""


def events(liked: NDArray[np.bool_]) -> Interactions:
    user, item = np.nonzero(liked)
    n = len(user)
    return Interactions(
        Vocabulary.of(f"u{row}" for row in range(len(liked))),
        Vocabulary.of(f"i{row}" for row in range(liked.shape[1])),
        user.astype(np.int64),
        item.astype(np.int64),
        np.full(n, "like", dtype=object),
        np.ones(n, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def split() -> Split:
    """Even users like even items, odd users odd ones; low items are the popular ones. The last user did nothing."""
    rng = np.random.default_rng(0)
    liked = np.zeros((N_USERS, N_ITEMS), dtype=bool)
    for user in range(N_USERS - 1):
        chance = (np.arange(N_ITEMS) % 2 == user % 2) / (np.arange(N_ITEMS) + 8.0)
        liked[user, rng.choice(N_ITEMS, size=12, replace=False, p=chance / chance.sum())] = True
    return random_split(events(liked), seed=0)


@pytest.fixture(scope="module")
def known(split: Split) -> Knowledge:
    """Words tell even from odd, and so does the color; pictures are noise; the last item has none of it."""
    rng = np.random.default_rng(1)
    there = np.arange(N_ITEMS) < N_ITEMS - 1
    words = rng.standard_normal((N_ITEMS, 6)).astype(np.float32)
    words[:, 0] += np.where(np.arange(N_ITEMS) % 2 == 0, 6, -6)
    pictures = rng.standard_normal((N_ITEMS, 4)).astype(np.float32)
    blank = np.full(N_ITEMS, "", dtype=object)
    colors = Attributes.of([(row, "color", "red" if row % 2 else "blue") for row in range(N_ITEMS - 1)])
    catalog = Catalog(
        split.train.items, blank, blank, blank, np.full(N_ITEMS, np.nan), np.ones(N_ITEMS, dtype=bool), colors
    )
    modalities = {"text": Embeddings.of(words, there, "t"), "image": Embeddings.of(pictures, there, "i")}
    return Knowledge(catalog, Attributes.of([]), modalities, MatchScores.unknown(N_ITEMS))


class Fitted:
    """Fits once what several tests look at."""

    def __init__(self, split: Split, known: Knowledge, folder: Path) -> None:
        self._split, self._known, self._folder = split, known, folder
        self._kept: dict[str, Scorer] = {}

    def __getitem__(self, name: str) -> Scorer:
        if name not in self._kept:
            self._kept[name] = self.anew(name, "first")
        return self._kept[name]

    def anew(self, name: str, run: str, *, seed: int = 3, split: Split | None = None, **extra: object) -> Scorer:
        config = changed(MODELS[name].config, {**SMALL.get(name, {}), **extra})
        return MODELS[name].fit(split or self._split, self._known, config, Job(seed, self._folder / run))


@pytest.fixture(scope="module")
def fitted(split: Split, known: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return Fitted(split, known, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("name", NAMES)
def test_every_user_gets_a_finite_score_of_every_item(name: str, fitted: Fitted) -> None:
    scores = fitted[name].score(np.arange(N_USERS))
    assert scores.shape == (N_USERS, N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    asked = np.array([7, 3, 7])
    np.testing.assert_allclose(fitted[name].score(asked), scores[asked], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_chosen_can_be_written_as_json(name: str, fitted: Fitted) -> None:
    params = dict(fitted[name].params)
    assert json.loads(json.dumps(params, allow_nan=False)) == params


@pytest.mark.parametrize("name", PERSONAL)
def test_the_planted_tastes_are_recovered(name: str, fitted: Fitted, split: Split) -> None:
    users = np.arange(N_USERS - 1)
    scores = fitted[name].score(users).copy()
    scores[split.train.matrix()[users].toarray() > 0] = -np.inf
    top = np.argsort(-scores, axis=1)[:, :8]
    own = (top % 2 == users[:, None] % 2).mean()
    assert own > 0.85, f"{own:.2f} of the suggestions are of the user's own taste"


@pytest.mark.parametrize("name", PERSONAL)
def test_popularity_is_beaten_on_test(name: str, fitted: Fitted, split: Split) -> None:
    config = EvaluationConfig(ks=(5,), bootstrap_samples=0)
    recall = {
        one: evaluate(fitted[one], split, on="test", config=config).metrics["recall@5"] for one in (name, "popularity")
    }
    assert recall[name] > (1.0 if name == "content" else 1.1) * recall["popularity"], recall


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_the_same_numbers_and_another_seed_others(name: str, fitted: Fitted) -> None:
    users = np.arange(N_USERS)
    np.testing.assert_array_equal(fitted.anew(name, "again").score(users), fitted[name].score(users))
    same = np.array_equal(fitted.anew(name, "other", seed=4).score(users), fitted[name].score(users))
    assert same is not MODELS[name].seeded


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_without_validation_repeats_what_one_with_it_came_to(name: str, fitted: Fitted, split: Split) -> None:
    alone = replace(split, valid=split.valid.where(np.zeros(len(split.valid), dtype=bool)))
    model = MODELS[name]
    config = model.settle(changed(model.config, SMALL.get(name, {})), fitted[name].params)
    again = model.fit(alone, fitted._known, config, Job(3, fitted._folder / "settled"))
    assert _chosen(again.params) == _chosen(fitted[name].params)
    np.testing.assert_allclose(again.score(np.arange(5)), fitted[name].score(np.arange(5)), rtol=1e-4, atol=1e-5)


def _chosen(params: Mapping[str, object]) -> dict[str, object]:
    """Without what tells of validation, of a blend's members too."""
    told = ("valid_recall@20", "tried", "note", "cross_fit", "best_member")
    return {
        key: _chosen(value) if isinstance(value, Mapping) else value for key, value in params.items() if key not in told
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_test_side_is_not_looked_at(name: str, fitted: Fitted, split: Split) -> None:
    other = replace(split, test=split.test.where(np.zeros(len(split.test), dtype=bool)))
    users = np.arange(N_USERS)
    np.testing.assert_array_equal(fitted.anew(name, "blind", split=other).score(users), fitted[name].score(users))


class CutError(Exception):
    """The power goes off."""


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_cut_off_ends_with_the_numbers_of_an_uninterrupted_one(name: str, fitted: Fitted) -> None:
    whole, left = trainer._Loop._step, [75]

    def step(self: trainer._Loop, *args: object) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise CutError
        return whole(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer._Loop, "_step", step)
        with pytest.raises(CutError):
            fitted.anew(name, "cut")
    users = np.arange(N_USERS)
    np.testing.assert_array_equal(fitted.anew(name, "cut").score(users), fitted[name].score(users))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("name", [name for name in TRAINED if name not in ("gnn", "denoiser", "denoiser_side")])
def test_one_batch_is_learned_by_heart(name: str, loss: str, known: Knowledge, tmp_path: Path) -> None:
    own = np.zeros((8, N_ITEMS), dtype=bool)
    own[np.arange(8), np.arange(8)] = True  # every user likes one item, and nobody else does
    train = events(own)
    nothing = train.where(np.zeros(8, dtype=bool))
    small = {
        "dim": 16,
        "start": 0.1,
        "epochs": 80,
        "evaluate_every": 80,
        "learning_rate": 0.1,
        "penalty": 0,
        "loss": loss,
    }
    if name == "freedom":
        small["dropped"] = 0.0
    entries: list[dict[str, float]] = []
    config = changed(MODELS[name].config, small)
    scorer = MODELS[name].fit(Split("one", train, nothing, nothing), known, config, Job(0, tmp_path, entries.append))
    assert entries[-1]["loss"] < 0.1  # log 2 = 0.7 and log 8 = 2.1 by chance
    assert (scorer.score(np.arange(8))[:, :8].argmax(axis=1) == np.arange(8)).all()


@pytest.mark.parametrize("name", ["mf", "lightgcn", "vbpr", "freedom"])
def test_the_softmax_recovers_the_planted_tastes_too(name: str, fitted: Fitted) -> None:
    users = np.arange(N_USERS - 1)
    top = np.argsort(-fitted.anew(name, "softmax", loss="softmax").score(users), axis=1)[:, :8]
    assert (top % 2 == users[:, None] % 2).mean() > 0.9


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_debiasing_shows_less_of_what_is_popular(loss: str, fitted: Fitted, split: Split) -> None:
    popularity = split.train.matrix(binary=True).sum(axis=0).A1
    shown = [
        popularity[np.argsort(-fitted.anew("mf", f"debias {by}", loss=loss, debias=by).score(np.arange(60)))[:, :8]]
        for by in (0.0, 2.0)
    ]
    assert shown[1].mean() < 0.9 * shown[0].mean()


def test_a_pair_of_weightier_events_counts_more(split: Split, known: Knowledge, tmp_path: Path) -> None:
    """Each user has one item bought and one viewed; where events weigh, the bought one stands higher."""
    liked = np.zeros((20, N_ITEMS), dtype=bool)
    liked[:, :2] = True
    train = events(liked)
    train = replace(train, weight=np.where(train.item_idx == 0, 20, 1).astype(np.float32))
    nothing = train.where(np.zeros(len(train), dtype=bool))
    alone = Split("one", train, nothing, nothing)

    def gap(weigh: bool) -> float:
        config = changed(
            MODELS["mf"].config,
            {
                "loss": "softmax",
                "start": 0.1,
                "event_weights": weigh,
                "epochs": 60,
                "learning_rate": 0.05,
                "penalty": 0,
            },
        )
        scores = MODELS["mf"].fit(alone, known, config, Job(0, tmp_path)).score(np.arange(20))
        return float((scores[:, 0] - scores[:, 1]).mean())

    assert abs(gap(weigh=False)) < 0.1
    assert gap(weigh=True) > 0.3


@pytest.mark.parametrize("name", ["denoiser", "denoiser_side"])
def test_the_denoiser_learns_one_batch_by_heart(name: str, known: Knowledge, tmp_path: Path) -> None:
    own = np.zeros((8, N_ITEMS), dtype=bool)
    own[np.arange(8), 2 * np.arange(8)] = own[np.arange(8), 2 * np.arange(8) + 1] = True  # two items, nobody else's
    train = events(own)
    nothing = train.where(np.zeros(train.user_idx.shape, dtype=bool))
    entries: list[dict[str, float]] = []
    small = {"dim": 16, "start": 0.1, "epochs": 60, "evaluate_every": 60, "learning_rate": 0.1, "temperature": 0.1}
    config = changed(MODELS[name].config, small)
    scorer = MODELS[name].fit(Split("one", train, nothing, nothing), known, config, Job(0, tmp_path, entries.append))
    assert entries[-1]["loss"] < 0.2  # log 16 = 2.8 by chance
    assert (scorer.score(np.arange(8)).argmax(axis=1) // 2 == np.arange(8)).all()
