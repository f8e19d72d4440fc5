from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.blend import (
    BlendConfig,
    BlendScorer,
    Shortlists,
    choose_blend,
    choose_weights,
    raised,
    shortlists,
    standardized,
)
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split

N_USERS, N_ITEMS = 200, 40


@dataclass(frozen=True)
class Table:
    name: str
    scores: NDArray[np.float32]
    params: dict[str, object] = field(default_factory=dict)
    fit_s: float = 0.0

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.scores[user_idx]


def side(pairs: NDArray[np.bool_]) -> Interactions:
    user, item = np.nonzero(pairs)
    users, items = (Vocabulary.of(map(str, range(n))) for n in pairs.shape)
    return Interactions(users, items, user, item, np.full(len(user), "like", object), np.ones(len(user), np.float32))


@pytest.fixture(scope="module")
def split() -> Split:
    rng = np.random.default_rng(0)
    dealt = rng.random((N_USERS, N_ITEMS))
    return Split("dealt", side(dealt < 0.1), side((dealt > 0.1) & (dealt < 0.2)), side((dealt > 0.2) & (dealt < 0.25)))


def noisy(split: Split, share: float, seed: int, scale: float = 1.0) -> Table:
    """Knows some share of what is held out, beside noise."""
    rng = np.random.default_rng(seed)
    truth = (split.valid.matrix(binary=True) + split.test.matrix(binary=True)).toarray()
    known = truth * (rng.random(truth.shape) < share)
    return Table(f"noisy {seed}", (scale * (2 * known + rng.standard_normal(truth.shape))).astype(np.float32))


def test_standardized_rows_have_mean_0_and_deviation_1_and_equal_scores_say_nothing() -> None:
    scores = np.array([[1, 2, 3, 4], [7, 7, 7, 7]], dtype=np.float32)
    expected = (np.arange(4) - 1.5) / np.sqrt(1.25)
    assert standardized(scores) == pytest.approx(np.stack([expected, np.zeros(4)]), abs=1e-6)


def test_a_row_of_scores_that_differ_by_rounding_alone_says_nothing() -> None:
    scores = np.array([[1e4, np.nextafter(np.float32(1e4), np.float32(2e4)), 1e4, 1e4]], dtype=np.float32)
    assert standardized(scores).tolist() == [[0.0] * 4]


def test_a_member_of_no_weight_is_not_asked() -> None:
    @dataclass(frozen=True)
    class Asleep(Table):
        def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
            raise AssertionError(f"asked for {user_idx}")

    table = np.array([[0, 2]], np.float32)
    blend = BlendScorer("blend", [Asleep("a", table), Table("b", table)], np.array([0.0, 1.0]))
    assert blend.score(np.array([0])) == pytest.approx(np.array([[-1.0, 1.0]]))


def test_a_blend_is_the_weighted_sum() -> None:
    tables = [Table("a", np.array([[0, 2]], np.float32)), Table("b", np.array([[30, 10]], np.float32))]
    blend = BlendScorer("blend", tables, np.array([0.75, 0.25]))
    assert blend.score(np.array([0])) == pytest.approx(np.array([[-0.5, 0.5]]))


def test_a_power_below_1_holds_far_scores_down_and_keeps_the_sign() -> None:
    scores = np.array([[-4, 0, 9]], dtype=np.float32)
    assert raised(scores, 0.5).tolist() == [[-2, 0, 3]]
    blend = BlendScorer("blend", [Table("a", np.array([[0, 2, 4, 10]], np.float32))], np.array([1.0]), power=0.5)
    z = standardized(np.array([[0, 2, 4, 10]], np.float32))
    assert blend.score(np.array([0])) == pytest.approx(np.sign(z) * np.abs(z) ** 0.5)


def test_the_power_is_that_of_the_better_cross_fit(split: Split) -> None:
    """A member that knows nothing but shouts drowns the other; held down, it does not."""
    wise, loud = noisy(split, 0.9, 1), noisy(split, 0.0, 2)
    config = BlendConfig(k=5, shortlist=20, powers=(2.0, 0.25))
    lists = shortlists([wise, loud], split, config, seed=0)
    _, power, told = choose_blend(lists, config, seed=0)
    alone = [choose_blend(lists, config.model_copy(update={"powers": (p,)}), seed=0) for p in config.powers]
    assert told["cross_fit"] == max(one[2]["cross_fit"] for one in alone)
    assert power == max(alone, key=lambda one: one[2]["cross_fit"])[1]


def test_worth_on_short_lists_is_recall_and_ndcg_over_the_catalog(split: Split) -> None:
    tables = [noisy(split, 0.6, 1), noisy(split, 0.6, 2)]
    config, weights = BlendConfig(k=5, shortlist=20), np.array([0.3, 0.7])
    lists = shortlists(tables, split, config, seed=0)
    judged = evaluate(
        BlendScorer("blend", tables, weights), split, on="valid", config=EvaluationConfig(ks=(5,), bootstrap_samples=0)
    ).metrics
    worth = lists.worth(lists.blended(weights), 5)
    assert worth == pytest.approx(judged["recall@5"] + judged["ndcg@5"], abs=1e-6)


def test_what_two_members_know_apart_is_put_together(split: Split) -> None:
    tables = [noisy(split, 0.6, 1), noisy(split, 0.6, 2, scale=100.0), noisy(split, 0.0, 3)]
    config = BlendConfig(k=5, shortlist=20)
    weights, told = choose_weights(shortlists(tables, split, config, seed=0), config, seed=0)
    assert weights.sum() == pytest.approx(1)
    assert min(weights[:2]) > 3 * weights[2]
    assert told["cross_fit"] > 1.1 * told["best_member"]


def test_weights_are_judged_on_users_they_were_not_chosen_on() -> None:
    """Members of pure chance: a tenth of the items is liked, so recall@3 and ndcg@3 are about .1 each on users that no
    choice has seen, while the best of the members looks better on the users it is the best on.
    """
    rng = np.random.default_rng(1)
    lists = Shortlists(rng.standard_normal((6, 60, 30)).astype(np.float32), rng.random((60, 30)) < 0.1, np.full(60, 3))
    _, told = choose_weights(lists, BlendConfig(k=3, folds=3), seed=0)
    assert told["cross_fit"] == pytest.approx(0.2, abs=0.05)
    assert told["best_member"] > 0.25


def planted(n_users: int, seed: int) -> Shortlists:
    """Two members that know the same of one held-out item a user, each with noise of its own, and one that knows
    nothing.
    """
    rng = np.random.default_rng(seed)
    liked = np.zeros((n_users, 300), dtype=np.bool_)
    liked[np.arange(n_users), rng.integers(300, size=n_users)] = True
    scores = rng.standard_normal((3, n_users, 300)) + 1.2 * np.array([1, 1, 0])[:, None, None] * liked
    return Shortlists(scores.astype(np.float32), liked, np.ones(n_users, dtype=np.int64))


def test_weights_chosen_by_long_lists_are_worth_more_to_other_users() -> None:
    others = planted(10_000, seed=99)

    def worth(depth: int) -> float:
        config = BlendConfig(k=5, depth=depth)
        chosen = [choose_weights(planted(300, seed), config, seed=0)[0] for seed in range(4)]
        return float(np.mean([others.worth(others.blended(weights), config.k) for weights in chosen]))

    assert others.worth(others.blended(np.array([0.5, 0.5, 0.0])), 5) >= worth(100) > worth(5) + 0.002


def test_training_items_are_not_on_the_lists(split: Split) -> None:
    table = noisy(split, 0.5, 1)
    table.scores[split.train.matrix(binary=True).toarray() > 0] = 100
    lists = shortlists([table], split, BlendConfig(shortlist=10), seed=0)
    assert lists.scores.max() < 5
    assert lists.liked.any()


@pytest.mark.parametrize("shares", [(0.2, 0.2, 0.2, 0.2), (0.9, 0.0, 0.0)])
def test_weights_move_towards_equal_ones_as_far_as_unseen_users_like_it(
    shares: tuple[float, ...], split: Split
) -> None:
    config = BlendConfig(powers=(1.0,), evenness=(0.0, 0.5, 1.0))
    members = [noisy(split, share, seed) for seed, share in enumerate(shares)]
    lists = shortlists(members, split, config, seed=0)
    weights, told = choose_weights(lists, config, seed=0)
    singly = {one: choose_weights(lists, BlendConfig(evenness=(one,)), seed=0) for one in config.evenness}
    best = max(singly, key=lambda one: singly[one][1]["cross_fit"])
    assert told == {**singly[best][1], "evenness": best}
    assert weights == pytest.approx((1 - best) * singly[0.0][0] + best / len(shares))
    assert singly[1.0][0] == pytest.approx(1 / len(shares))
    if shares[1] == 0:
        assert best == 0, "who knows nothing is better left out"
    else:
        assert told["cross_fit"] >= singly[0.0][1]["cross_fit"]


def test_evenness_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"evenness must be in \[0, 1\], got 1.5"):
        BlendConfig(evenness=(1.5,))
