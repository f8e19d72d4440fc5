from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import Embeddings, ItemVectors
from features.errors import InputError
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.content import item_content
from graph.models.kg_gnn import GNNConfig
from graph.neighbors import top_neighbors
from recsys import trainer, validation
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.newcomers import choose_bonus
from recsys.training import FittedGNN, TrainConfig, fit_gnn

N_USERS, N_ITEMS = 60, 48
MODEL = GNNConfig(dim=16)
TRAIN = TrainConfig(epochs=30)


@dataclass(frozen=True)
class World:
    """Even users like even items. Items 40.. are new; an item's text says its parity, its picture nothing."""

    catalog: Catalog
    train: Interactions
    valid: Interactions
    vectors: ItemVectors

    def fit(self, run_dir: Path, *, seed: int = 0, model: GNNConfig = MODEL, **changes: object) -> FittedGNN:
        fields = {"train": self.train, "valid": self.valid, "vectors": self.vectors, "config": TRAIN} | changes
        of: GraphConfig = fields.pop("graph_config", GraphConfig())  # type: ignore[assignment]
        vectors: ItemVectors = fields.pop("vectors")  # type: ignore[assignment]
        neighbors = {"text": top_neighbors(vectors.text.vectors, 4, mask=vectors.text.mask)}
        graph = build_graph(self.catalog, fields["train"], Attributes.of([]), neighbors, of)  # type: ignore[arg-type]
        return fit_gnn(
            graph,
            graph_config=of,
            content=item_content(vectors, MatchScores.unknown(N_ITEMS), image_share=model.image_share),
            model_config=model,
            run_dir=run_dir,
            seed=seed,
            **fields,  # type: ignore[arg-type]
        )


def events(catalog: Catalog, liked: NDArray[np.bool_]) -> Interactions:
    user, item = np.nonzero(liked)
    users = Vocabulary(tuple(f"u{i}" for i in range(len(liked))))
    n = len(user)
    return Interactions(
        users, catalog.items, user, item, np.full(n, "like", dtype=object), np.ones(n, dtype=np.float32)
    )


@pytest.fixture(scope="module", autouse=True)
def _short_lists() -> Iterator[None]:
    """Recall@20 of 48 items would be 1 at the first look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "K", 4)
        yield


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    catalog = Catalog(
        items=Vocabulary(tuple(f"i{i}" for i in range(N_ITEMS))),
        title=np.full(N_ITEMS, "", dtype=object),
        description=np.full(N_ITEMS, "", dtype=object),
        image=np.full(N_ITEMS, "", dtype=object),
        price=np.full(N_ITEMS, np.nan),
        available=np.ones(N_ITEMS, dtype=bool),
        attributes=Attributes.of([]),
    )
    same_parity = (np.arange(N_USERS)[:, None] + np.arange(N_ITEMS)) % 2 == 0
    met = same_parity & (rng.random((N_USERS, N_ITEMS)) < 0.5)
    met[:, 40:] = False
    held = met & (rng.random(met.shape) < 0.2)
    parity = np.where(np.arange(N_ITEMS) % 2, 1.0, -1.0)[:, None]
    text = parity * np.eye(8)[0] + 0.5 * rng.standard_normal((N_ITEMS, 8))
    picture = rng.standard_normal((N_ITEMS, 6))
    there = np.ones(N_ITEMS, dtype=bool)
    vectors = ItemVectors(
        Embeddings.of(text.astype(np.float32), there, "t"), Embeddings.of(picture.astype(np.float32), there, "i")
    )
    return World(catalog, events(catalog, met & ~held), events(catalog, held), vectors)


@pytest.fixture(scope="module")
def fitted(world: World, tmp_path_factory: pytest.TempPathFactory) -> FittedGNN:
    return world.fit(tmp_path_factory.mktemp("runs"))


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


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(
    world: World, fitted: FittedGNN, tmp_path: Path
) -> None:
    again, other = world.fit(tmp_path), world.fit(tmp_path, seed=1)
    np.testing.assert_array_equal(again.item_embeddings, fitted.item_embeddings)
    np.testing.assert_array_equal(again.user_embeddings, fitted.user_embeddings)
    assert again.history == fitted.history
    assert not np.allclose(other.item_embeddings, fitted.item_embeddings)


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


def test_relational_attention_over_another_graph_of_the_same_pairs_starts_afresh(world: World, tmp_path: Path) -> None:
    bought = replace(world.train, event_type=np.full(len(world.train), "purchase", dtype=object))
    for train in (world.train, world.train, bought):
        split = Split("by hand", train, world.valid, world.valid.where(np.zeros(0, dtype=np.int64)))
        config = changed(MODELS["relational"].config, {"epochs": 1, "dim": 4})
        MODELS["relational"].fit(split, Knowledge.of_ids(world.catalog), config, Job(0, tmp_path))
    assert len(list(tmp_path.glob("relational-*/checkpoint.safetensors"))) == 2
