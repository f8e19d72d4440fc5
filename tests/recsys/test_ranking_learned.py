"""The learned ranker: what it learns of a shop, and when it is adopted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.catalog import Attributes
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys import metrics
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES
from recsys.ranking.judging import judged_over_items
from recsys.ranking.learn import learn_ranker
from recsys.ranking.lists import Lists, hits_of, training_standing
from recsys.ranking.served import served_by
from recsys.ranking.standing import Standing


def shop(*, planted: bool, seed: int = 0) -> tuple[Any, np.ndarray, np.ndarray]:
    """A split in which users go on to like what goes with what they met (or, unplanted, anything); taste is noise."""
    rng = np.random.default_rng(seed)
    n_users, n_items = 500, 120
    partner = np.arange(n_items) ^ 1  # items come in pairs
    train: list[tuple[int, int]] = []
    valid: list[tuple[int, int]] = []
    test: list[tuple[int, int]] = []
    for user in range(n_users):
        met = rng.choice(n_items // 2, 8, replace=False) * 2 + rng.integers(2, size=8)
        for item in met[:4].tolist():
            train += [(user, item), (user, int(partner[item]))]
        train += [(user, int(item)) for item in met[4:]]
        later = partner[met[4:6]] if planted else rng.choice(np.setdiff1d(np.arange(n_items), met), 2, replace=False)
        later = [item for item in later.tolist() if (user, item) not in set(train)]
        valid += [(user, item) for item in later[:1]]
        test += [(user, item) for item in later[1:2]]
    users, items = (Vocabulary(tuple(f"{kind}{n}" for n in range(size))) for kind, size in (("u", 500), ("i", 120)))

    def side(pairs: list[tuple[int, int]]) -> Interactions:
        rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        kinds = np.full(len(rows), "view", dtype=object)
        return Interactions(users, items, rows[:, 0], rows[:, 1], kinds, np.ones(len(rows), dtype=np.float32), None)

    nothing = SimpleNamespace(vectors=np.zeros((n_items, 0), dtype=np.float32))
    prepared = SimpleNamespace(
        split=Split("planted", side(train), side(valid), side(test)),
        vectors=SimpleNamespace(text=nothing, image=nothing),
        neighbors={},
        scores=SimpleNamespace(score=np.full(n_items, np.nan, dtype=np.float32)),
        shop=SimpleNamespace(
            catalog=SimpleNamespace(items=items, price=np.full(n_items, np.nan), attributes=Attributes.of([]))
        ),
    )
    noise = rng.standard_normal((n_items, 5)).astype(np.float32), rng.standard_normal((n_users, 4)).astype(np.float32)
    return prepared, *noise


def test_a_planted_pattern_is_learned_and_adopted_and_holds_on_test() -> None:
    prepared, items, users = shop(planted=True)
    ranker, report = learn_ranker(prepared, items, users, RankingConfig(), seed=0)
    assert ranker is not None
    assert report["adopted"] is True
    for side in ("valid", "test"):
        told = report[side]["ndcg@20"]
        assert told["ranker"] > 2 * told["before"]
        assert told["difference_low"] > 0
    weights = report["weights"]
    assert weights["together_max"] + weights["together"] > 5 * abs(weights["taste"])
    again, _ = learn_ranker(prepared, items, users, RankingConfig(), seed=0)
    assert again is not None
    np.testing.assert_array_equal(again.weights, ranker.weights)


def fresh_shop(*, planted: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """A shop whose items come one a day; each user, at a moment of their own, goes for the newest, or for any."""
    prepared, items, users = shop(planted=False)
    rng = np.random.default_rng(5)
    n_users, n_items = len(users), len(items)
    moment = rng.integers(60, n_items, n_users)  # days; 60 or more items are there
    split = prepared.split
    met = [rng.choice(day - 10, 6, replace=False) for day in moment.tolist()]
    liked = [day - rng.permutation(9)[:2] if planted else rng.choice(day, 2, replace=False) for day in moment.tolist()]
    first = 1_600_000_000.0

    def side(pairs: list[tuple[int, int, float]]) -> Interactions:
        rows = np.array(pairs).reshape(-1, 3)
        n = len(rows)
        kinds, weights = np.full(n, "view", dtype=object), np.ones(n, dtype=np.float32)
        user, item = rows[:, :2].astype(np.int64).T
        return Interactions(
            split.train.users, split.train.items, user, item, kinds, weights, first + 86_400 * rows[:, 2]
        )

    each = list(enumerate(zip(met, liked, moment.tolist(), strict=True)))
    old = [(u, int(i), day - 1.0) for u, (of, later, day) in each for i in of if i not in later]
    prepared.split = Split(
        "fresh",
        side(old),
        side([(u, int(later[0]), day + 0.5) for u, (_, later, day) in each]),
        side([(u, int(later[1]), day + 0.6) for u, (_, later, day) in each]),
    )
    came = [(row, "created_at", str(int(first) + 86_400 * row)) for row in range(n_items)]
    prepared.shop.catalog.attributes = Attributes.of(came)
    return prepared, items, users


def test_freshness_is_adopted_where_users_go_for_what_is_new_and_only_there() -> None:
    config = RankingConfig(penalty=0.01)
    ranker, report = learn_ranker(*fresh_shop(planted=True), config, seed=0)
    assert ranker is not None
    assert report["groups"]["freshness"]["adopted"]
    told = report["groups"]["freshness"]["ndcg@20"]
    assert told["ranker"] > 1.5 * told["before"]
    assert report["weights"]["freshness"] > 0
    _, unmoved = learn_ranker(*fresh_shop(planted=False), config, seed=0)
    assert not unmoved["groups"]["freshness"]["adopted"]
    assert unmoved["weights"]["freshness"] == 0
    assert "ctr" not in report["groups"]  # this shop has no log, so there is nothing to try


def test_what_is_no_better_is_not_adopted() -> None:
    prepared, items, users = shop(planted=False)
    ranker, report = learn_ranker(prepared, items, users, RankingConfig(), seed=0)
    assert ranker is None
    assert report["adopted"] is False
    assert report["valid"]["ndcg@20"]["difference_low"] <= 0


def test_what_a_few_held_out_items_have_in_common_by_chance_is_not_adopted() -> None:
    prepared, items, users = shop(planted=False)
    rng, everyone = np.random.default_rng(6), np.arange(len(users))
    prepared.shop.catalog.price = np.exp(rng.standard_normal(len(items)))
    prepared.scores.score = rng.random(len(items), dtype=np.float32)
    split = prepared.split
    met = split.train.matrix().toarray() > 0
    few = rng.permutation(len(items))[:20].reshape(2, 10)
    wanted = [np.array([rng.choice(of[~met[user, of]]) for user in everyone]) for of in few]
    none = split.valid.where(np.zeros(len(users), dtype=np.int64))
    prepared.split = Split("few", split.train, *(replace(none, user_idx=everyone, item_idx=of) for of in wanted))
    ranker, report = learn_ranker(prepared, items, users, RankingConfig(penalty=0.01), seed=0)
    valid, unseen, test = report["valid"]["ndcg@20"], report["valid"]["unseen_items"], report["test"]["ndcg@20"]
    assert valid["difference_low"] > 0, "other users like the same few items, so users alone would have it adopted"
    assert test["difference_low"] < 0
    assert unseen["items"] == 10
    assert unseen["ndcg@20"]["difference_low"] < 0
    assert ranker is None


def test_over_items_a_mean_is_that_over_users_and_as_sure_as_the_items_are_many() -> None:
    rng = np.random.default_rng(0)
    n_users, n_items = 60, 30
    rows = [rng.permutation(n_items)[:25] for _ in range(n_users)]
    held = [rng.choice(n_items, rng.integers(0, 5), replace=False) for _ in range(n_users)]
    liked = [np.isin(of, wanted) for of, wanted in zip(rows, held, strict=True)]
    before, now = ([rng.random(25, dtype=np.float32) for _ in range(n_users)] for _ in range(2))
    empty = [np.zeros((25, len(FEATURES)), dtype=np.float32)] * n_users
    lists, compared = Lists(rows, empty, liked, before, held), []
    for half in (np.arange(n_items) < 15, np.arange(n_items) >= 15):
        part = lists.among(half)
        compared.append((part, part.before, [new[half[of]] for new, of in zip(now, rows, strict=True)]))
    told = judged_over_items(compared, n_items, seed=0)
    for name, order in (("before", 1), ("ranker", 2)):
        by_user = []
        for part in compared:
            hits = np.stack([hits_of(score, of) for score, of in zip(part[order], part[0].liked, strict=True)])
            by_user += metrics.ndcg(hits, part[0].n_held, 20).tolist()
        assert told["ndcg@20"][name] == pytest.approx(np.nanmean(by_user))
    assert told["items"] == len(set(np.concatenate(held).tolist()))
    one = [np.array([3]) for _ in range(n_users)]
    single = Lists(rows, empty, [of == 3 for of in rows], before, one)
    sure = judged_over_items([(single, before, now)], n_items, seed=0)["ndcg@20"]
    assert sure["difference_low"] == pytest.approx(sure["difference_high"]), "of one item there is nothing to draw"


def test_too_few_users_teach_nothing() -> None:
    prepared, items, users = shop(planted=True)
    assert learn_ranker(prepared, items, users, RankingConfig(least=400), seed=0) == (None, {"adopted": False})
    assert learn_ranker(prepared, items, users, RankingConfig(learn=False), seed=0)[0] is None


def test_counters_are_adopted_where_they_tell_what_users_go_for_and_only_there() -> None:
    prepared, items, users = fresh_shop(planted=False)
    split, n_items = prepared.split, len(items)
    rng = np.random.default_rng(3)
    attracts = rng.gamma(0.3, size=n_items)
    prepared.shop.catalog.attributes = Attributes.of([])
    met = {u: set(split.train.item_idx[split.train.user_idx == u].tolist()) for u in range(len(users))}
    liked = []
    for user in range(len(users)):
        free = np.array([item for item in range(n_items) if item not in met[user]])
        liked.append(rng.choice(free, 2, replace=False, p=attracts[free] / attracts[free].sum()))
    pairs = [np.array([of[side] for of in liked]) for side in (0, 1)]
    everyone = np.arange(len(users))
    prepared.split = Split(
        "appeal",
        split.train,
        *(replace(split.valid, user_idx=everyone, item_idx=of, timestamp=np.full(len(users), 2e9)) for of in pairs),
    )

    def known(appeal: np.ndarray) -> Callable[[float], Standing]:
        columns = np.stack([appeal, np.full(n_items, 0.9), np.full(n_items, np.nan)], axis=1)
        return lambda _: Standing(columns.astype(np.float32))

    config = RankingConfig(penalty=0.01)
    ranker, report = learn_ranker(prepared, items, users, config, seed=0, standing_at=known(np.log(attracts + 0.05)))
    assert ranker is not None
    told = report["groups"]["ctr"]
    assert told["adopted"]
    assert told["ndcg@20"]["ranker"] > 1.3 * told["ndcg@20"]["before"]
    assert "freshness" not in report["groups"]
    indifferent = fresh_shop(planted=False)
    _, unmoved = learn_ranker(*indifferent, config, seed=0, standing_at=known(np.log(attracts + 0.05)))
    assert not unmoved["groups"]["ctr"]["adopted"]
    assert unmoved["weights"]["ctr"] == 0


def test_what_is_served_is_judged_in_the_ranker_s_order_above_everything_else() -> None:
    prepared, items, users = shop(planted=True)
    ranker, report = learn_ranker(prepared, items, users, RankingConfig(), seed=0)
    served = served_by(ranker, prepared, items, users, lambda _: training_standing(prepared))
    for side in ("valid", "test"):
        told = evaluate(served[side], prepared.split, on=side, config=EvaluationConfig(bootstrap_samples=0))
        assert told.metrics["ndcg@20"] == pytest.approx(report[side]["ndcg@20"]["ranker"], rel=0.1)
    scores = served["valid"].score(np.array([7]))[0]
    taste = items @ np.append(users[7], np.float32(1))
    rest = np.flatnonzero(scores < 0)
    np.testing.assert_array_equal(np.argsort(scores[rest]), np.argsort(taste[rest]))
    assert served_by(None, prepared, items, users, lambda _: training_standing(prepared)) == {}
