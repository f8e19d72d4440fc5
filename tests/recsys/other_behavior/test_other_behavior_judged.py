"""Comparisons in which models are told of other behavior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bench.bench import BenchConfig, Outcome, ablations
from recsys.bench.read import read_task
from recsys.bench.result import Result
from recsys.bench.run import final, judged
from recsys.bench.table import bench_json, markdown
from recsys.bench.task import Task, task_of
from recsys.bench.tuning import Choice
from recsys.evaluation import EvaluationConfig
from recsys.held_out import SIDES, pair_keys
from recsys.models.registry import MODELS
from recsys.scorer import EmbeddingScorer
from tests.recsys.other_behavior.worlds import events_of, likes_of, quiet_world


def test_a_comparison_of_other_types_of_events_is_another_one(tmp_path: Path) -> None:
    split, known = quiet_world()
    task = task_of("quiet", split, known, refit=None)
    renamed = replace(split.train, event_type=np.where(np.arange(len(split.train)) % 2, "like", "buy").astype(object))
    other = task_of("quiet", replace(split, train=renamed), known, refit=None)
    assert other.fingerprint() != task.fingerprint()  # a graph of theirs has other relations
    unheard = task_of("quiet", split, known.without("other_behavior"), refit=None)
    without_views = replace(unheard, told=known.other_behavior)
    assert without_views.fingerprint() != unheard.fingerprint()  # judged without what is told, too


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
