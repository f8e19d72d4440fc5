"""What every scorer keeps: one suite, run on each."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from features.encoders.embeddings import Embeddings, ItemVectors
from features.interactions import Interactions
from recsys.baselines.config import BaselinesConfig
from recsys.baselines.fit import fit_baselines
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.scorer import EmbeddingScorer, Scorer
from recsys.split import Split, random_split
from tests.events import events_of

N_USERS, N_ITEMS = 120, 60
SMALL = BaselinesConfig(
    knn_neighbors=(20, 5),
    als_alphas=(10.0,),
    als_penalties=(0.03, 0.1),
    als_factors=(8, 4),
    bpr_rates=(0.05,),
    bpr_penalties=(0.01,),
    bpr_factors=(8, 4),
    image_shares=(0.5, 0.0),
    time_budget_s=None,
)
NAMES = ("random", "popularity", "item_knn", "als", "bpr", "content", "embedding")
LEARNERS = ("item_knn", "als", "bpr", "content")


@pytest.fixture(scope="module")
def tastes() -> Split:
    """Even users like even items, odd users odd ones; low items are the popular ones. The last user did nothing."""
    rng = np.random.default_rng(0)
    popularity = 1 / (np.arange(N_ITEMS) + 8.0)
    pairs = []
    for user in range(N_USERS - 1):
        chance = popularity * (np.arange(N_ITEMS) % 2 == user % 2)
        pairs += [(user, i) for i in rng.choice(N_ITEMS, size=12, replace=False, p=chance / chance.sum()).tolist()]
    return random_split(events(pairs), seed=0)


def events(pairs: list[tuple[int, int]]) -> Interactions:
    weight = [1 + item % 3 for _, item in pairs]
    return events_of(pairs, n_users=N_USERS, n_items=N_ITEMS, weight=weight)


@pytest.fixture(scope="module")
def vectors() -> ItemVectors:
    """Words tell even from odd; pictures are noise; the last item has neither."""
    rng = np.random.default_rng(1)
    there = np.arange(N_ITEMS) < N_ITEMS - 1
    words = rng.standard_normal((N_ITEMS, 6)).astype(np.float32)
    words[:, 0] += np.where(np.arange(N_ITEMS) % 2 == 0, 6, -6)
    pictures = rng.standard_normal((N_ITEMS, 4)).astype(np.float32)
    return ItemVectors(Embeddings.of(words, there, "words"), Embeddings.of(pictures, there, "pictures"))


@pytest.fixture(scope="module")
def fit(tastes: Split, vectors: ItemVectors) -> Callable[[], dict[str, Scorer]]:
    def fit_all() -> dict[str, Scorer]:
        rng = np.random.default_rng(5)
        users, items = (rng.standard_normal((n, 8)).astype(np.float32) for n in (N_USERS, N_ITEMS))
        fitted = {scorer.name: scorer for scorer in fit_baselines(tastes, vectors=vectors, config=SMALL, seed=3)}
        return {**fitted, "embedding": EmbeddingScorer("embedding", users, items)}

    return fit_all


@pytest.fixture(scope="module")
def scorers(fit: Callable[[], dict[str, Scorer]]) -> dict[str, Scorer]:
    return fit()


@pytest.fixture(scope="module")
def again(fit: Callable[[], dict[str, Scorer]]) -> dict[str, Scorer]:
    return fit()


def test_every_baseline_is_fitted_under_its_name(scorers: dict[str, Scorer]) -> None:
    assert tuple(scorers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_user_gets_a_finite_score_of_every_item(scorers: dict[str, Scorer], name: str) -> None:
    scores = scorers[name].score(np.arange(N_USERS))
    assert scores.shape == (N_USERS, N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scorers[name].score(np.zeros(0, dtype=np.int64)).shape == (0, N_ITEMS)


@pytest.mark.parametrize("name", NAMES)
def test_a_users_scores_do_not_depend_on_who_else_is_asked_for(scorers: dict[str, Scorer], name: str) -> None:
    together = scorers[name].score(np.arange(N_USERS))
    asked = np.array([7, 3, 7, N_USERS - 1])
    np.testing.assert_allclose(scorers[name].score(asked), together[asked], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_the_same_numbers(scorers: dict[str, Scorer], again: dict[str, Scorer], name: str) -> None:
    users = np.arange(N_USERS)
    np.testing.assert_array_equal(scorers[name].score(users), again[name].score(users))
    assert dict(scorers[name].params) == dict(again[name].params)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_chosen_can_be_written_as_json(scorers: dict[str, Scorer], name: str) -> None:
    assert json.loads(json.dumps(dict(scorers[name].params), allow_nan=False)) == dict(scorers[name].params)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_recovers_the_planted_tastes(scorers: dict[str, Scorer], tastes: Split, name: str) -> None:
    users = np.arange(N_USERS - 1)
    scores = scorers[name].score(users).copy()
    known = tastes.train.matrix(binary=True)[users].toarray() > 0
    scores[known] = -np.inf
    top = np.argsort(-scores, axis=1)[:, :10]
    own = (top % 2 == users[:, None] % 2).mean()
    assert own > 0.85, f"{own:.2f} of the suggestions are of the user's own taste"


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_beats_chance_and_the_collaborative_ones_beat_popularity(
    scorers: dict[str, Scorer], tastes: Split, name: str
) -> None:
    config = EvaluationConfig(ks=(10,), bootstrap_samples=0)
    recall = {
        other: evaluate(scorers[other], tastes, on="test", config=config).metrics["recall@10"]
        for other in (name, "random", "popularity")
    }
    assert recall[name] > 1.3 * recall["random"]
    if name != "content":
        assert recall[name] > 1.1 * recall["popularity"], recall
