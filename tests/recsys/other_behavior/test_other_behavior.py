"""What is told of other behavior, and what models make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from features.errors import InputError
from recsys.bench.indexed import bare_catalog
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import SIDES, pair_keys
from recsys.models.closed_form import Sides
from recsys.models.facts import Facts
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.on_graph import OnGraphConfig
from recsys.models.registry import MODELS
from recsys.other_behavior import other_behavior
from tests.recsys.other_behavior.worlds import events_of, likes_of, quiet_world, random_world

TOLD = tuple(name for name, model in MODELS.items() if "other_behavior" in model.uses)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_what_a_loop_over_the_events_finds(seed: int) -> None:
    rows, events, split = random_world(seed)
    liked = {(user, item) for user, item, kind, _ in rows if kind == "like"}
    trained = list(zip(split.train.user_idx.tolist(), split.train.item_idx.tolist(), strict=True))
    times = split.train.timestamp
    assert times is not None
    expected = []
    for user, item, kind, when in rows:
        own = [
            time for (who, _), time in zip(trained, times.tolist(), strict=True) if who == user and not np.isnan(time)
        ]
        known = any(who == user for who, _ in trained) and any(what == item for _, what in trained)
        if kind in ("view", "cart") and (user, item) not in liked and known and own and when <= max(own):
            expected.append((user, item, kind))
    found = other_behavior(events, split, ("view", "cart"))
    told = found.events
    assert len(expected) > 5
    assert list(zip(told.user_idx.tolist(), told.item_idx.tolist(), told.event_type.tolist(), strict=True)) == expected
    assert len(told) + sum(found.left_out.values()) == sum(kind != "like" for _, _, kind, _ in rows)


@pytest.mark.parametrize("seed", range(5))
def test_no_model_is_told_of_a_held_out_pair_an_unlisted_like_or_a_new_item(seed: int) -> None:
    rows, events, split = random_world(seed)
    told = other_behavior(events, split, ("view",)).events
    liked = {user * 15 + item for user, item, kind, _ in rows if kind == "like"}
    assert liked > {int(key) for side in SIDES for key in pair_keys(getattr(split, side))}, "some are on no side"
    known = replace(Knowledge.of_ids(bare_catalog(events.items)), other_behavior=told)
    columns = Sides.of(known, neighbors=3).columns["beside view"].tocoo()
    facts = Facts.of(known, 12, content_dim=2, min_owners=1).did.tocoo()
    edges = OnGraphConfig().graph_of(split.train, known).forward["user", "beside:view", "item"]
    for user, item in ((columns.row, columns.col), (facts.row, facts.col), (edges.src, edges.dst)):
        assert {int(key) for key in user * 15 + item} == {int(key) for key in pair_keys(told)}
        assert not liked & {int(key) for key in user * 15 + item}
        assert set(item.tolist()) <= set(split.train.item_idx.tolist())
        assert set(user.tolist()) <= set(split.train.user_idx.tolist())


def test_kinds_that_are_not_there_or_are_to_be_predicted_are_refused() -> None:
    liked = [(0, 0, "like", 0.0), (0, 1, "like", 0.0), (1, 2, "like", 0.0), (1, 0, "like", 0.0)]
    besides = [(0, 0, "view", 0.0), (0, 2, "view", 0.0), (1, 1, "cart", 0.0), (2, 1, "view", 0.0), (1, 3, "view", 0.0)]
    events = events_of([*liked, *besides], 3, 4)
    split = likes_of(events, [0, 0, 0, 1] + [-1] * 5)
    with pytest.raises(
        InputError, match=r"types of events that there are \(cart, like, view\), got 'views'.*mean 'view'"
    ):
        other_behavior(events, split, ("views",))
    with pytest.raises(
        InputError, match=r"not about, but like is all there is of 3 of its pairs, such as \('u0', 'i1'\)"
    ):
        other_behavior(events, split, ("like",))
    found = other_behavior(events, split, ("view", "cart", "view"))
    pairs = list(zip(found.events.user_idx.tolist(), found.events.item_idx.tolist(), strict=True))
    assert pairs == [(0, 2), (1, 1)]
    assert found.left_out == {
        "of pairs that also have an event that is to be predicted": 1,
        "of users without training pairs": 1,
        "of items without training pairs": 1,
    }
    assert "1 of type cart, 1 of type view (left out: 1 of pairs" in found.told()


QUICK: dict[str, dict[str, Any]] = {
    "gnn": {"model.dim": 16, "train.epochs": 40, "model.beside": 3.0},
    "relational": {"dim": 16, "epochs": 40, "knowledge": 2.0},
    "denoiser_side": {"dim": 16, "epochs": 20},
    "flagship": {"members": ("ease", "denoiser"), "copies": 1, "denoiser.dim": 16, "denoiser.epochs": 20},
}


@pytest.mark.parametrize("name", TOLD)
def test_who_is_told_of_views_knows_the_taste_that_only_views_tell(name: str, tmp_path: Path) -> None:
    split, known = quiet_world()
    config = changed(MODELS[name].config, QUICK.get(name, {}))
    how = EvaluationConfig(ks=(20,), bootstrap_samples=0)
    recall = {}
    for what, one in (("told", known), ("untold", known.without("other_behavior"))):
        scorer = MODELS[name].fit(split, one, config, Job(0, tmp_path / what))
        recall[what] = evaluate(scorer, split, on="test", config=how).metrics["recall@20"]
    assert recall["told"] > 0.8, recall
    assert recall["untold"] < 0.6, recall


@pytest.mark.parametrize("name", ["ease_side", "walk_side"])
def test_a_closed_form_that_views_make_too_large_to_be_solved_exactly_says_so(name: str, tmp_path: Path) -> None:
    split, known = quiet_world()
    n_items = len(split.train.items)
    config = changed(MODELS[name].config, {"dense_items": n_items, "sides": {"beside view": (0.5, 1.0)}})
    found = {}
    for what, one in (("told", known), ("untold", known.without("other_behavior"))):
        with capture_logs() as said:
            params = MODELS[name].fit(split, one, config, Job(0, tmp_path / what)).params
        found[what] = params["solved"], [line["solved"] for line in said if "exact" in line["event"]]
    assert found["untold"] == ("exactly", [])
    how, logged = found["told"]
    assert logged == [how]  # once, not at every trial
    assert f"{2 * n_items} columns, dense_items is {n_items}" in how


def test_the_past_alone_and_other_behavior_exclude_each_other(tmp_path: Path) -> None:
    split, known = quiet_world()
    past = changed(MODELS["gnn"].config, {"train.sampling.fanouts": (5, 5), "train.sampling.past": True})
    with pytest.raises(InputError, match=r"of other behavior \(--beside\) it knows nothing"):
        MODELS["gnn"].fit(split, known, past, Job(0, tmp_path))


def test_what_is_told_is_a_part_that_can_be_taken_away() -> None:
    _, known = quiet_world()
    assert known.parts == ("other_behavior",)
    assert known.without("other_behavior").parts == ()
    assert known.fingerprint() != known.without("other_behavior").fingerprint()
    told = known.other_behavior
    assert told is not None
    timed = replace(known, other_behavior=replace(told, timestamp=np.arange(len(told), dtype=np.float64)))
    assert timed.fingerprint() != known.fingerprint(), "edges of the graph fade with time"
    with pytest.raises(ValueError, match="one item vocabulary"):
        replace(known, other_behavior=events_of([(0, 0, "view", 0.0)], 1, 1))
