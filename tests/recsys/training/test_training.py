"""What training learns of the checkerboard world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from features.encoders.embeddings import Embeddings, ItemVectors
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.models.kg_gnn import GNNConfig
from recsys.newcomers import choose_bonus
from recsys.training import FittedGNN, TrainConfig
from tests.recsys.training.parity import N_ITEMS, N_USERS, TRAIN, World, events


def own_parity(scores: NDArray[np.float32], items: NDArray[np.int64]) -> float:
    """How often a user's better half of some items is of the user's parity; 0.5 by chance."""
    best = items[np.argsort(-scores[:, items], axis=1)[:, : len(items) // 2]]
    return float(np.mean((best + np.arange(len(scores))[:, None]) % 2 == 0))


def scores_of(fitted: FittedGNN) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = fitted.user_embeddings @ fitted.item_embeddings.T
    return scores


def test_even_users_get_even_items(fitted: FittedGNN) -> None:
    assert own_parity(scores_of(fitted), np.arange(40)) > 0.99


def test_new_items_land_with_their_look_alikes_and_their_users(fitted: FittedGNN) -> None:
    new = np.arange(40, N_ITEMS)
    assert own_parity(scores_of(fitted), new) > 0.95
    directions = fitted.item_directions
    like = (new[:, None] + np.arange(40)) % 2 == 0
    cosines = directions[new] @ directions[:40].T
    assert cosines[like].mean() > cosines[~like].mean() + 0.5


def test_the_model_beats_popularity(world: World, fitted: FittedGNN) -> None:
    seen = world.train.matrix(binary=True).toarray() > 0
    popularity = np.tile(seen.sum(axis=0).astype(np.float32), (N_USERS, 1))
    held = world.valid.matrix(binary=True).toarray() > 0

    def recall(scores: NDArray[np.float32]) -> float:
        top = np.argsort(-np.where(seen, -np.inf, scores), axis=1)[:, :8]
        some = held.any(axis=1)
        return float((np.take_along_axis(held, top, axis=1).sum(axis=1)[some] / held.sum(axis=1)[some]).mean())

    assert recall(scores_of(fitted)) > 1.5 * recall(popularity)


def test_one_batch_is_learned_by_heart(world: World, tmp_path: Path) -> None:
    own = np.zeros((8, N_ITEMS), dtype=bool)
    own[np.arange(8), np.arange(8)] = True  # every user likes one item, and nobody else does
    config = TrainConfig(
        epochs=40, min_steps=1, hidden_share=0, content_dropout=0, learning_rate=0.05, evaluate_every=40
    )
    train = events(world.catalog, own)
    nothing_held_out = train.where(np.zeros(8, dtype=bool))
    fitted = world.fit(tmp_path, train=train, valid=nothing_held_out, config=config)
    assert fitted.history[-1]["loss"] < 0.1  # log(8) = 2.1 by chance
    assert (scores_of(fitted)[:, :8].argmax(axis=1) == np.arange(8)).all()


def test_a_sampled_catalog_teaches_the_same_taste(world: World, tmp_path: Path) -> None:
    fitted = world.fit(tmp_path, config=TRAIN.model_copy(update={"max_candidates": 12}))
    assert own_parity(scores_of(fitted), np.arange(40)) > 0.95


@pytest.mark.parametrize(
    ("recalls", "bonus"),
    [
        ((0.300, 0.290, 0.250, 0.200), -0.2),  # lowering pays, and one step less would cost more than 1%
        ((0.300, 0.298, 0.298, 0.298), 0.0),  # it costs nothing: in sight, but not above zero
        ((0.100, 0.200, 0.300, 0.299), 0.0),
        ((0.100, 0.200, 0.300, 0.310), 0.4),  # validation asks for them
    ],
)
def test_newcomers_stand_as_high_as_costs_a_hundredth_of_the_recall(recalls: tuple[float, ...], bonus: float) -> None:
    assert choose_bonus((-0.2, -0.1, 0.0, 0.4), recalls)[0] == bonus


def test_newcomers_are_raised_when_validation_is_about_them(world: World, tmp_path: Path) -> None:
    liked_new = np.zeros((N_USERS, N_ITEMS), dtype=bool)
    for user in range(N_USERS):
        liked_new[user, 40 + user % 2 :: 2] = True
    fitted = world.fit(tmp_path, valid=events(world.catalog, liked_new))
    plain = world.fit(tmp_path)
    assert fitted.history[-1]["newcomer_bonus"] > 0
    assert plain.history[-1]["newcomer_bonus"] <= 0, "no validation pair asks for them"
    unseen = np.where(world.train.matrix().toarray() > 0, -np.inf, scores_of(fitted))
    first = np.argsort(-unseen, axis=1)[:, :4]
    assert np.take_along_axis(liked_new, first, axis=1).mean() > 0.9


def test_a_user_of_whom_nothing_is_known_gets_what_most_like(world: World, tmp_path: Path) -> None:
    liked = world.train.matrix(binary=True).toarray() > 0
    liked[:, :4] = True  # everyone's favorites
    liked[7] = False
    fitted = world.fit(tmp_path, train=events(world.catalog, liked))
    assert set(np.argsort(-scores_of(fitted)[7])[:4].tolist()) == {0, 1, 2, 3}


def test_a_shop_without_behavior_is_placed_by_content(world: World, tmp_path: Path) -> None:
    none = Interactions.empty(Vocabulary(()), world.catalog.items)
    fitted = world.fit(tmp_path, train=none, valid=none, model=GNNConfig(dim=64))
    assert fitted.user_embeddings.shape == (0, 65)
    assert (fitted.history, fitted.best_epoch) == ([], 0)
    directions = fitted.item_directions
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    cosines = directions @ directions.T
    same = (np.arange(N_ITEMS)[:, None] + np.arange(N_ITEMS)) % 2 == 0
    assert cosines[same].mean() > cosines[~same].mean() + 0.3


def test_users_without_any_behavior_in_the_shop_have_no_vector(world: World, tmp_path: Path) -> None:
    none = world.train.where(np.zeros(len(world.train), dtype=bool))
    assert not world.fit(tmp_path, train=none, valid=none).user_embeddings.any()


@pytest.mark.parametrize("missing", ["text", "image", "both"])
def test_a_missing_modality_is_no_obstacle(missing: str, world: World, tmp_path: Path) -> None:
    text, image = world.vectors.text, world.vectors.image
    if missing in ("text", "both"):
        text = Embeddings.missing(N_ITEMS, text.dim, "t")
    if missing in ("image", "both"):
        image = Embeddings.missing(N_ITEMS, image.dim, "i")
    fitted = world.fit(tmp_path, vectors=ItemVectors(text, image))
    assert own_parity(scores_of(fitted), np.arange(40)) > 0.85
