from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import sparse

from features.interactions import Interactions
from recsys.bootstrap import bootstrap_means, interval
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.evaluation_json import evaluation_json
from recsys.ranking_lists import TieOrder, top_lists
from recsys.scorer import EmbeddingScorer
from recsys.split import Split, random_split
from tests.events import events_of

QUICK = EvaluationConfig(ks=(3, 5), bootstrap_samples=50)


@dataclass(frozen=True, eq=False)
class Table:
    """A scorer that looks its scores up."""

    scores: np.ndarray
    name: str = "table"
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = 1.5

    def score(self, user_idx: np.ndarray) -> np.ndarray:
        return self.scores[user_idx]


def split_of(
    train: list[tuple[int, int]],
    valid: list[tuple[int, int]],
    test: list[tuple[int, int]],
    *,
    n_users: int,
    n_items: int,
) -> Split:
    return Split("by hand", *(events_of(pairs, n_users=n_users, n_items=n_items) for pairs in (train, valid, test)))


def random_world(seed: int = 0, *, n_users: int = 40, n_items: int = 50) -> tuple[Split, Table]:
    """Random pairs, split at random; item 0 to 4 are cold; random scores."""
    rng = np.random.default_rng(seed)
    pairs = [(u, int(i)) for u in range(n_users) for i in rng.permutation(np.arange(5, n_items))[: rng.integers(4, 20)]]
    split = random_split(events_of(pairs, n_users=n_users, n_items=n_items), seed=seed)
    cold = [(u, int(rng.integers(5))) for u in range(0, n_users, 3)]
    test = list(zip(split.test.user_idx.tolist(), split.test.item_idx.tolist(), strict=True)) + cold
    world = Split("random", split.train, split.valid, events_of(test, n_users=n_users, n_items=n_items))
    return world, Table(rng.standard_normal((n_users, n_items)).astype(np.float32))


def items_of(interactions: Interactions, user: int) -> set[int]:
    return set(interactions.item_idx[interactions.user_idx == user].tolist())


@pytest.mark.parametrize("on", ["valid", "test"])
def test_the_ranking_is_over_all_items_but_those_the_user_is_known_to_have(on: str) -> None:
    split, scorer = random_world()
    found = evaluate(scorer, split, on=on, config=QUICK)  # type: ignore[arg-type]
    recalls = []
    for user in range(40):
        known = items_of(split.train, user) | (items_of(split.valid, user) if on == "test" else set())
        ranked = [i for i in np.argsort(-scorer.scores[user]).tolist() if i not in known]
        held = items_of(split.test if on == "test" else split.valid, user)
        if held:
            recalls.append(len(held & set(ranked[:5])) / len(held))
    assert found.n_users == len(recalls)
    assert found.metrics["recall@5"] == pytest.approx(np.mean(recalls))
    assert found.per_user["recall@5"] == pytest.approx(recalls)


def test_cold_items_are_ranked_in_the_whole_catalog_and_among_themselves() -> None:
    # items 3, 4, 5 are cold; user 0 holds out the cold item 3 and the warm item 1, user 1 only a warm one
    split = split_of([(0, 0), (1, 1), (2, 2)], [], [(0, 3), (0, 1), (1, 0)], n_users=3, n_items=6)
    scores = np.array([[9, 8, 7, 4, 5, 1], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    found = evaluate(Table(scores), split, on="test", config=EvaluationConfig(ks=(1, 2, 4), bootstrap_samples=10))
    whole, among = found.segments["cold_items"], found.segments["cold_items_among_cold"]
    assert (whole["n_users"], whole["n_pairs"], among["n_users"]) == (1, 1, 1)
    assert whole["mrr@4"] == pytest.approx(1 / 4)  # behind 1, 2 and 4; 0 is known
    assert among["mrr@4"] == pytest.approx(1 / 2)  # behind 4
    assert (whole["recall@2"], among["recall@1"], among["recall@2"]) == (0.0, 0.0, 1.0)
    assert whole["coverage@4"] == pytest.approx(2 / 3)  # of the cold items, 3 and 4 are shown to user 0


def test_cold_users_are_those_with_few_different_training_items() -> None:
    train = [(0, i) for i in range(4)] + [(1, 0)] * 9 + [(1, 1)]
    split = split_of(train, [], [(0, 5), (1, 5), (2, 5)], n_users=3, n_items=8)
    scores = np.zeros((3, 8), dtype=np.float32)
    scores[[1, 2], 5] = 1  # right for the cold ones
    scores[0, 6] = 1
    config = EvaluationConfig(ks=(1,), bootstrap_samples=0, cold_user_max_events=2)
    found = evaluate(Table(scores), split, on="test", config=config)
    assert found.segments["cold_users"]["n_users"] == 2
    assert found.segments["cold_users"]["recall@1"] == 1.0
    assert found.metrics["recall@1"] == pytest.approx(2 / 3)


def test_a_constant_scorer_does_no_better_than_chance_even_if_the_first_rows_are_the_right_ones() -> None:
    n_users, n_items = 400, 100
    split = split_of([], [], [(u, u % 10) for u in range(n_users)], n_users=n_users, n_items=n_items)
    config = EvaluationConfig(ks=(10,), bootstrap_samples=0)
    found = evaluate(Table(np.zeros((n_users, n_items), dtype=np.float32)), split, on="test", config=config)
    assert found.metrics["recall@10"] == pytest.approx(0.1, abs=0.05)  # 10 of 100, standard error 0.015
    assert found.metrics["coverage@10"] == 1.0


def test_lists_are_sorted_by_score_and_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    scores = rng.choice(np.array([-2.5, -1e-30, -0.0, 0.0, 1e-30, 3.0], dtype=np.float32), size=(30, 40))
    ties, users = TieOrder.of(30, 40, seed=0), np.arange(30)
    lists = top_lists(scores, users, 12, ties)
    for user in range(30):
        shown = scores[user, lists[user]]
        assert (np.diff(shown) <= 0).all()
        assert shown.tolist() == pytest.approx(np.sort(scores[user])[::-1][:12].tolist())
        assert len(set(lists[user].tolist())) == 12
        alone = top_lists(scores[user : user + 1], np.array([user]), 12, ties)
        assert alone[0].tolist() == lists[user].tolist()
    assert not np.array_equal(lists, top_lists(scores, users, 12, TieOrder.of(30, 40, seed=1)))


@pytest.mark.parametrize("levels", [2, 1000])
def test_lists_are_what_sorting_all_items_by_score_then_tie_order_gives(levels: int) -> None:
    rng = np.random.default_rng(levels)
    scores = rng.integers(levels, size=(20, 60)).astype(np.float32)
    hidden, only = rng.random((20, 60)) < 0.4, rng.random(60) < 0.6
    hidden[3] = True  # has everything
    ties, users = TieOrder.of(20, 60, seed=5), np.arange(20)
    lists = top_lists(scores, users, 15, ties, hidden=sparse.csr_matrix(hidden.astype(np.float32)), only=only)
    for user in range(20):
        place = (ties.place + ties.turn[user]) % 60
        may = [item for item in range(60) if only[item] and not hidden[user, item]]
        expected = sorted(may, key=lambda item: (-scores[user, item], place[item]))[:15]
        assert lists[user].tolist() == expected + [-1] * (15 - len(expected))


def test_minus_zero_is_no_worse_than_zero() -> None:
    ties = TieOrder.of(1, 50, seed=3)
    plain, signed = np.zeros((1, 50), dtype=np.float32), np.full((1, 50), -0.0, dtype=np.float32)
    signed[0, ::2] = 0.0
    assert top_lists(plain, np.array([0]), 50, ties).tolist() == top_lists(signed, np.array([0]), 50, ties).tolist()


def test_a_list_ends_where_the_items_do() -> None:
    split = split_of([(0, 0), (0, 1)], [], [(0, 2)], n_users=1, n_items=4)
    found = evaluate(Table(np.ones((1, 4), dtype=np.float32)), split, on="test", config=EvaluationConfig(ks=(10,)))
    assert found.metrics["recall@10"] == 1.0
    assert found.metrics["coverage@10"] == pytest.approx(0.5)


def test_the_chunk_changes_nothing() -> None:
    split, scorer = random_world()
    one = evaluate(scorer, split, on="test", config=QUICK)
    other = evaluate(scorer, split, on="test", config=QUICK.model_copy(update={"chunk_users": 7}))
    assert one.metrics == other.metrics
    assert one.intervals == other.intervals
    assert one.segments["cold_items_among_cold"] == other.segments["cold_items_among_cold"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_an_error_that_names_scorer_user_and_item(bad: float) -> None:
    split, scorer = random_world()
    user = int(split.test.user_idx[3])
    scorer.scores[user, 7] = bad
    with pytest.raises(ValueError, match=f"scorer 'table' gave {bad} to user 'u{user}' and item 'i7'"):
        evaluate(scorer, split, on="test", config=QUICK)


def test_scores_of_the_wrong_shape_are_an_error() -> None:
    split, scorer = random_world()
    with pytest.raises(ValueError, match=r"'table' must return scores of shape \(40, 50\), got \(40, 49\)"):
        evaluate(Table(scorer.scores[:, :49]), split, on="test", config=QUICK)


def test_without_held_out_pairs_metrics_are_undefined_and_a_note_says_why() -> None:
    split = split_of([], [], [], n_users=0, n_items=5)
    scorer = EmbeddingScorer("gnn", np.zeros((0, 2), np.float32), np.ones((5, 2), np.float32))
    found = evaluate(scorer, split, on="test", config=QUICK)
    assert found.n_users == 0
    assert all(math.isnan(value) for value in found.metrics.values())
    assert all(math.isnan(end) for ends in found.intervals.values() for end in ends)
    assert found.segments["cold_items"]["n_users"] == 0
    assert math.isnan(found.segments["cold_items"]["recall@5"])
    assert found.notes == ("the test side has no held-out pairs: its metrics are undefined",)
    written = evaluation_json(split, {"gnn": {"test": found}}, scorers={"gnn": scorer}, config=QUICK)
    assert written["models"]["gnn"]["test"]["recall@5"] is None
    json.dumps(written, allow_nan=False)


def test_too_many_users_are_judged_by_a_sample_and_a_note_says_so() -> None:
    split, scorer = random_world()
    found = evaluate(scorer, split, on="test", config=QUICK.model_copy(update={"max_users": 10}))
    assert found.n_users == len(found.user_idx) == 10
    assert found.notes == ("judged on a random sample of 10 of 40 users with held-out pairs",)


def test_a_bootstrap_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(2000, 1))
    low, high = interval(bootstrap_means(values, samples=2000, seed=1)[:, 0])
    error = values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_users_without_a_value_do_not_count_in_the_bootstrap() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    means = bootstrap_means(values, samples=200, seed=0)
    drawn = np.unique(means[np.isfinite(means[:, 0]), 0].round(6))
    assert drawn.tolist() == pytest.approx([1, 5 / 3, 2, 7 / 3, 3])  # one, two or three draws of the two
    assert interval(means[:, 0]) == (1.0, 3.0)
    assert all(math.isnan(end) for end in interval(means[:, 1]))


def test_one_seed_gives_one_result() -> None:
    split, scorer = random_world()
    assert evaluate(scorer, split, on="test").intervals == evaluate(scorer, split, on="test").intervals


def test_the_json_holds_every_model_and_the_lead_of_the_first() -> None:
    split = split_of([(0, 0), (1, 0)], [(0, 3)], [(0, 1), (1, 2)], n_users=2, n_items=4)
    right = Table(np.array([[0, 9, 1, 0], [0, 1, 9, 0]], np.float32), name="gnn", params={"dim": np.int64(8)})
    half = Table(np.array([[0, 9, 1, 0], [0, 9, 1, 0]], np.float32), name="als")
    config = EvaluationConfig(ks=(1,), bootstrap_samples=100)
    results = {
        model.name: {on: evaluate(model, split, on=on, config=config) for on in ("valid", "test")}  # type: ignore[attr-defined]
        for model in (right, half)
    }
    written = evaluation_json(split, results, scorers={"gnn": right, "als": half}, config=config)  # type: ignore[arg-type]
    json.dumps(written, allow_nan=False)
    assert written["split"] == "by hand"
    assert "no model is fitted again" in written["protocol"]
    gnn, als = written["models"]["gnn"], written["models"]["als"]
    assert (gnn["test"]["recall@1"], als["test"]["recall@1"], gnn["valid"]["recall@1"]) == (1.0, 0.5, 0.0)
    assert gnn["params"] == {"dim": 8}
    assert gnn["fit_s"] == 1.5
    assert gnn["intervals"]["test"]["recall@1"] == [1.0, 1.0]
    assert als["segments"]["test"]["cold_users"]["n_users"] == 2
    assert gnn["n_users"] == {"valid": 1, "test": 2}
    assert written["lead"]["of"] == "gnn"
    assert written["lead"]["over"]["als"]["recall@1"] == [0.5, 0.0, 1.0]
