from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from recsys.bench.bench import BenchConfig, Outcome, ablations
from recsys.bench.indexed import bare_catalog
from recsys.bench.read import read_task
from recsys.bench.result import Result
from recsys.bench.run import final, judged
from recsys.bench.table import bench_json, markdown
from recsys.bench.task import Task, task_of
from recsys.bench.tuning import Choice
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import SIDES, Split, pair_keys
from recsys.models.closed_form import Sides
from recsys.models.facts import Facts
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.on_graph import OnGraphConfig
from recsys.models.registry import MODELS
from recsys.other_behavior import other_behavior
from recsys.scorer import EmbeddingScorer

Row = tuple[int, int, str, float]
TOLD = tuple(name for name, model in MODELS.items() if "other_behavior" in model.uses)


def events_of(rows: Sequence[Row], n_users: int, n_items: int, *, timed: bool = False) -> Interactions:
    users, items = (Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in (("u", n_users), ("i", n_items)))
    user, item, kind, when = zip(*rows, strict=True)
    ones = np.ones(len(rows), dtype=np.float32)
    return Interactions(
        users,
        items,
        np.array(user),
        np.array(item),
        np.array(kind, dtype=object),
        ones,
        np.array(when, dtype=np.float64) if timed else None,
    )


def likes_of(events: Interactions, sides: Sequence[int]) -> Split:
    """A split of the likes alone: the side of each event by number, -1 for none."""
    side = np.where(events.event_type == "like", np.array(sides), -1)
    return Split("likes", *(events.where(side == number) for number in range(len(SIDES))))


def random_world(seed: int) -> tuple[list[Row], Interactions, Split]:
    """Likes, views and carts at random, of the same pairs too; some likes are on no side, some items in no training."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        (int(user), int(item), str(kind), float(rng.integers(20)) if rng.random() < 0.9 else float("nan"))
        for kind, share in (("like", 0.25), ("view", 0.3), ("cart", 0.1))
        for user, item in zip(*np.nonzero(rng.random((12, 15)) < share), strict=True)
    ]
    events = events_of(rows, 12, 15, timed=True)
    sides = rng.choice([0, 1, 2, -1], p=[0.5, 0.15, 0.15, 0.2], size=len(rows))
    sides[(events.item_idx < 3) & (sides == 0)] = 2
    return rows, events, likes_of(events, sides.tolist())


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


def quiet_world() -> tuple[Split, Knowledge]:
    """Items 0-9 are liked by all alike, 10-29 by one half of the users, 30-49 by the other. The last 40 users have
    liked only what all like, and are asked for what their half likes: only what they viewed tells which half it is.
    """
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    sides: list[int] = []
    for user in range(120):
        own = rng.permutation(np.arange(20)) + (10 if user % 2 else 30)
        rows.append((user, int(rng.integers(10)), "like", 0.0))
        rows += [(user, int(item), "like", 0.0) for item in own[:6]]
        rows += [(user, int(item), "view", 0.0) for item in own[6:14]]
        sides += [0, *([0] * 6 if user < 80 else [1, 1, 1, 2, 2, 2]), *([-1] * 8)]
    events = events_of(rows, 120, 50)
    split = likes_of(events, sides)
    told = other_behavior(events, split, ("view",)).events
    return split, replace(Knowledge.of_ids(bare_catalog(events.items)), other_behavior=told)


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


def test_a_comparison_of_other_types_of_events_is_another_one(tmp_path: Path) -> None:
    split, known = quiet_world()
    task = task_of("quiet", split, known, refit=None)
    renamed = replace(split.train, event_type=np.where(np.arange(len(split.train)) % 2, "like", "buy").astype(object))
    other = task_of("quiet", replace(split, train=renamed), known, refit=None)
    assert other.fingerprint() != task.fingerprint()  # a graph of theirs has other relations
    unheard = task_of("quiet", split, known.without("other_behavior"), refit=None)
    without_views = replace(unheard, told=known.other_behavior)
    assert without_views.fingerprint() != unheard.fingerprint()  # judged without what is told, too


def test_the_past_alone_and_other_behavior_exclude_each_other(tmp_path: Path) -> None:
    split, known = quiet_world()
    past = changed(MODELS["gnn"].config, {"train.sampling.fanouts": (5, 5), "train.sampling.past": True})
    with pytest.raises(InputError, match=r"of other behavior \(--beside\) it knows nothing"):
        MODELS["gnn"].fit(split, known, past, Job(0, tmp_path))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    pd.DataFrame({"item_id": list("abcdefgh"), "title": ""}).to_csv(folder / "items.csv", index=False)
    rows = [(f"u{user}", item, "buy") for user in range(6) for item in "abcde"]
    rows += [(f"u{user}", item, "view") for user in range(6) for item in "efgh"]
    rows += [*(("u6", item, "buy") for item in "abc"), ("u6", "d", "view"), ("u6", "e", "view")]
    pd.DataFrame(rows, columns=["user_id", "item_id", "event_type"]).to_csv(folder / "interactions.csv", index=False)
    sides = {"a": "train", "b": "train", "c": "train", "d": "valid", "e": "test"}
    listed = [
        (f"u{user}", "abcde"[(user + place) % 5], side)
        for user in range(6)
        for place, side in enumerate(sides.values())
    ]
    listed += [("u6", item, "train") for item in "abc"]
    pd.DataFrame(listed, columns=["user_id", "item_id", "split"]).to_csv(folder / "s.csv", index=False)
    return folder


def test_a_comparison_says_what_is_told_and_is_another_than_one_that_is_not(shop: Path, tmp_path: Path) -> None:
    def read(*beside: str, split_file: Path | None = shop / "s.csv") -> Any:
        return read_task(
            shop, split_file=split_file, refit=None, cache_dir=tmp_path, quarantine=Quarantine(), beside=beside
        )

    untold, told = read(), read("view")
    assert untold.known.other_behavior is None
    assert untold.told is None
    assert told.known.without("other_behavior").fingerprint() == untold.known.fingerprint()
    assert told.fingerprint() != untold.fingerprint()
    for side in SIDES:
        assert pair_keys(getattr(told.split, side)).tolist() == pair_keys(getattr(untold.split, side)).tolist()
    assert "other behavior" not in untold.protocol
    events = told.known.other_behavior
    assert events is told.told
    pairs = zip(events.user_idx.tolist(), events.item_idx.tolist(), strict=True)
    assert [(events.users[user], events.items[item]) for user, item in pairs] == [("u6", "d"), ("u6", "e")]
    assert (
        "of other behavior: 2 of type view (left out: 6 of pairs that also have an event that is to be predicted; "
        "18 of items without training pairs)."
    ) in told.protocol
    assert "no other behavior" in ablations(told, MODELS["ease_side"])
    assert "no other behavior" not in ablations(untold, MODELS["ease_side"])
    with pytest.raises(InputError, match=r"there are \(buy, view\), got 'veiw'"):
        read("veiw")
    alone = read("view", split_file=None)
    assert set(alone.split.train.event_type.tolist()) == {"buy"}, "what is told is not to be predicted, too"


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


def test_metrics_with_what_is_told_left_out_are_those_of_lists_without_it() -> None:
    """u0 was shown i1 by a view; the model ranks i0 (train), i1, i2, i3, i4, and i3 is asked for."""
    events = events_of([(0, 0, "like", 0.0), (0, 3, "like", 0.0), (0, 1, "view", 0.0), (0, 4, "like", 0.0)], 1, 5)
    split = likes_of(events, [0, 2, -1, 1])
    told = events.where(events.event_type == "view")
    scorer = EmbeddingScorer("by hand", np.ones((1, 1), dtype=np.float32), -np.arange(5, dtype=np.float32)[:, None])
    found = judged(scorer, split, told, on="test", config=EvaluationConfig(ks=(2,), bootstrap_samples=0))
    assert (found.metrics["recall@2"], found.metrics["recall@2, told left out"]) == (0.0, 1.0)
    assert found.metrics["ndcg@2, told left out"] == pytest.approx(1 / np.log2(3))
    assert found.per_user["recall@2, told left out"].tolist() == [1.0]
    plain = judged(scorer, split, None, on="test", config=EvaluationConfig(ks=(2,), bootstrap_samples=0))
    assert not any("told" in name for name in plain.metrics)
    with pytest.raises(ValueError, match="must not be held out, but pairs of test are"):
        judged(scorer, split, events, on="test", config=EvaluationConfig(ks=(2,), bootstrap_samples=0))


def test_novelty_goes_by_what_was_learned_with_told_items_left_out_too() -> None:
    """u0 is shown i2 either way, which u1 viewed and nobody has in training: log2((2 + 1) / (0 + 1)) bits."""
    rows = [(0, 0, "like", 0.0), (0, 3, "like", 0.0), (1, 0, "like", 0.0), (1, 2, "view", 0.0), (0, 1, "view", 0.0)]
    events = events_of(rows, 2, 4)
    split = likes_of(events, [0, 2, 0, -1, -1])
    told = events.where(events.event_type == "view")
    scores = np.array([[0], [1], [2], [-1]], dtype=np.float32)
    scorer = EmbeddingScorer("by hand", np.ones((2, 1), dtype=np.float32), scores)
    found = judged(scorer, split, told, on="test", config=EvaluationConfig(ks=(1,), bootstrap_samples=0)).metrics
    assert found["novelty@1"] == found["novelty@1, told left out"] == pytest.approx(np.log2(3))


def test_ablations_are_judged_without_what_is_told_as_all_else_is(tmp_path: Path) -> None:
    split, known = quiet_world()
    model = MODELS["ease_side"]
    task = Task("quiet", split, known, None, told=known.other_behavior)

    def fitted(one: Task) -> tuple[Result, ...]:
        return (final(one, model.name, model.config, seed=0, run_dir=tmp_path),)

    without = {
        label: fitted(replace(task, known=known.without(*parts))) for label, parts in ablations(task, model).items()
    }
    outcome = Outcome(model, Choice(model.config), fitted(task), without)
    table = bench_json(task, [outcome], BenchConfig(ablation=True), complete=True)
    row = table["ablation"]["ease_side"]["no other behavior"]
    for metric in ("recall@20", "recall@20, told left out"):
        gain = table["models"]["ease_side"]["test"][metric]["mean"] - row["test"][metric]["mean"]
        assert row["loss"][metric][0] == pytest.approx(gain)
        assert gain > 0.2
    assert "| other behavior | " in markdown(table)
