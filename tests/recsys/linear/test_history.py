"""What a user's items say, by how long ago they were met."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.bench.indexed import bare_catalog
from recsys.bench.settings import model_settings
from recsys.held_out import Split
from recsys.linear.history import MOST_RECENCY, faded, fading
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS


def events(user: list[int], item: list[int], *, n_users: int = 3, n_items: int = 4) -> Interactions:
    n = len(user)
    return Interactions(
        Vocabulary.of(f"u{row:02}" for row in range(n_users)),
        Vocabulary.of(f"i{row:02}" for row in range(n_items)),
        np.array(user, dtype=np.int64),
        np.array(item, dtype=np.int64),
        np.full(n, "like", dtype=object),
        np.ones(n, dtype=np.float32),
    )


def turned() -> Interactions:
    """Two tastes of eight items; one user has six of the first, and then one of the second."""
    user, item = np.nonzero(np.kron(np.eye(2, dtype=np.int64), np.ones((10, 8), dtype=np.int64)))
    rng = np.random.default_rng(0)
    kept = rng.random(len(user)) < 0.8
    pairs = [*zip(user[kept].tolist(), item[kept].tolist(), strict=True), *((20, one) for one in (0, 1, 2, 3, 4, 5, 8))]
    return events([one for one, _ in pairs], [other for _, other in pairs], n_users=21, n_items=16)


def test_the_nth_newest_item_weighs_n_to_the_minus_r_and_one_in_the_mean() -> None:
    history = fading(events([0, 1, 0, 0], [3, 2, 1, 0]), 1.0).toarray()
    one, half, third = 1.0, 0.5, 1 / 3
    scale = 3 / (one + half + third)
    assert history[0] == pytest.approx([scale * one, scale * half, 0, scale * third])
    assert history[1].tolist() == [0, 0, 1, 0]
    assert not history[2].any()


def test_without_recency_all_items_are_alike() -> None:
    train = events([0, 1, 0, 0, 0], [3, 2, 1, 0, 3])
    assert np.array_equal(fading(train, 0.0).toarray(), train.matrix(binary=True).toarray())


def test_times_decide_where_they_are_told_and_an_item_stands_where_it_was_met_first() -> None:
    train = replace(events([0, 0, 0], [1, 2, 1]), timestamp=np.array([5.0, 3.0, 1.0]))
    history = fading(train, 1.0).toarray()
    assert history[0, 2] == pytest.approx(2 * history[0, 1])


def test_an_item_whose_place_is_not_told_weighs_as_the_mean_of_the_others() -> None:
    train = replace(events([0, 0, 0], [1, 2, 3]), placed=np.array([True, False, True]))
    assert fading(train, 1.0).toarray()[0] == pytest.approx([0, 2 / 3, 1, 4 / 3])


def test_an_event_without_a_time_among_others_with_one_is_not_the_newest() -> None:
    train = replace(events([0, 0, 0], [1, 2, 3]), timestamp=np.array([1.0, np.nan, 2.0]))
    assert fading(train, 1.0).toarray()[0] == pytest.approx([0, 2 / 3, 1, 4 / 3])


@pytest.mark.parametrize("model", ["walk", "ease", "spectral"])
@pytest.mark.parametrize("dense", [True, False])
def test_who_turned_to_another_taste_is_shown_that_one_where_recency_counts(
    model: str, dense: bool, tmp_path: Path
) -> None:
    train = turned()
    nobody = train.where(np.zeros(0, dtype=np.int64))
    split, first = Split("by hand", train, nobody, nobody), {}
    for recency in (0.0, 3.0):
        config = changed(MODELS[model].config, {"recency": (recency,), "dense_items": 100 if dense else 1})
        scores = MODELS[model].fit(split, Knowledge.of_ids(bare_catalog(train.items)), config, Job(0, tmp_path))
        mine = scores.score(np.array([20]))[0]
        first[recency] = max((6, 7, *range(9, 16)), key=lambda one: mine[one])
    assert first[0.0] < 8
    assert first[3.0] > 8


def test_events_fade_by_the_place_of_their_pair() -> None:
    train = replace(events([0, 0, 0, 1], [1, 2, 1, 3]), weight=np.array([5, 1, 2, 7], dtype=np.float32))
    train = pickle.loads(pickle.dumps(train))  # noqa: S301 - as it comes to another process: arrays that do not own their memory
    gain = fading(train, 1.0).toarray()
    assert faded(train, 1.0).weight == pytest.approx([5 * gain[0, 1], gain[0, 2], 2 * gain[0, 1], 7])
    assert faded(train, 0.0) is train


def test_the_gnn_follows_a_user_who_turned_to_another_taste_where_recency_counts(tmp_path: Path) -> None:
    train = turned()
    nobody = train.where(np.zeros(0, dtype=np.int64))
    split, known = Split("by hand", train, nobody, nobody), Knowledge.of_ids(bare_catalog(train.items))
    leaning = {}
    quick = {"train.epochs": 15, "model.dim": 16, "train.learning_rate": 0.03, "train.event_weights": True}
    for recency in (0.0, 3.0):
        config = changed(MODELS["gnn"].config, {**quick, "recency": recency})
        scores = MODELS["gnn"].fit(split, known, config, Job(0, tmp_path)).score(np.array([20]))[0]
        leaning[recency] = float(scores[9:].mean() - scores[6:8].mean())
    assert leaning[0.0] < 0 < leaning[3.0]


@pytest.mark.parametrize("recency", [-0.5, 50.0, float("nan")])
def test_a_recency_beyond_its_bounds_is_refused(recency: float) -> None:
    with pytest.raises(ValueError, match=rf"recency must be in \[0, 4\], got {recency}"):
        fading(events([0], [0]), recency)


@pytest.mark.parametrize("setting", ["walk.recency=[50.0]", "flagship.ease.recency=[0.0, 4.1]", "gnn.recency=50"])
def test_a_setting_of_recency_beyond_its_bounds_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match="less than or equal to 4"):
        model_settings([setting])


def test_at_the_most_recency_the_oldest_of_a_long_history_still_weighs_something() -> None:
    n = 100_000
    train = events([0] * n, list(range(n)), n_items=n)
    faint = faded(train, MOST_RECENCY)  # events refuse weights of 0
    assert faint.weight[0] == pytest.approx(faint.weight[-1] * float(n) ** -4, rel=1e-5)
