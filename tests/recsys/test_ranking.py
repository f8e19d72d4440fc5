"""The learned ranker: what it goes by, what it learns, when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.catalog import Attributes
from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys import metrics
from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placed
from recsys.bundle import Bundle
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split
from recsys.index import ExactIndex
from recsys.pipeline.request import Request
from recsys.ranking.askers import Asker, Block, Floats, Rows
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES, Catalog, features
from recsys.ranking.gather import gather
from recsys.ranking.judging import judged_over_items
from recsys.ranking.learn import learn_ranker
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.ranking.lists import Lists, hits_of, training_standing
from recsys.ranking.served import served_by
from recsys.ranking.standing import Standing, came
from recsys.recommendation import SOURCES, UserState
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]
NOBODY = np.zeros(0, dtype=np.int64)


def catalog_of(bundle: Bundle) -> Catalog:
    return BundleRecommender(bundle).catalog


def weighing(**weights: float) -> LinearRanker:
    """A ranker that goes by these features alone, as they are."""
    n = len(FEATURES)
    given = np.array([weights.get(name, 0.0) for name in FEATURES], dtype=np.float32)
    return LinearRanker(np.zeros(n, dtype=np.float32), np.ones(n, dtype=np.float32), given, {})


def asker(user: Floats | None, history: Rows, now_s: float = 0.0, scenario: str = "") -> Asker:
    vector = None if user is None else np.append(user, np.float32(1)).astype(np.float32)
    return Asker(vector, history, now_s, scenario)


def features_of(catalog: Catalog, one: Asker, rows: Rows, standing: Standing) -> Floats:
    return features(catalog, Block.of(one), rows, np.array([0, len(rows)]), standing=standing)


def with_ranker(bundle: Bundle, ranker: LinearRanker) -> BundleRecommender:
    bundle.__dict__["ranker"] = ranker
    return BundleRecommender(bundle)


def test_features_are_those_of_a_naive_loop(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    history = np.array([4, 10, 23, 59])
    rows = np.array([7, 0, 12, 59, 57])
    user = np.asarray(bundle.user_embeddings[3])
    catalog = catalog_of(bundle)
    columns = np.stack([0.01 * np.arange(60), np.full(60, 0.5), 20_000.0 + np.arange(60)], axis=1).astype(np.float32)
    columns[0, 2], columns[12, 2], columns[57, 0] = np.nan, 20_200.0, np.nan  # 12 comes later than it is asked for
    at_home = columns[:, :2] + np.float32(2)
    standing = Standing(columns, {"home": at_home})
    found = features_of(catalog, asker(user, history, 20_100 * 86_400.0), rows, standing)
    prices = [display["price"] for display in bundle.displays()]
    met = [{u for u in range(20) if i in bundle.seen(u)} for i in range(60)]

    def cosine(vectors: np.ndarray, a: int, b: int) -> float:
        lengths = np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])
        return float(vectors[a] @ vectors[b] / lengths) if lengths else np.nan

    for row, item in enumerate(rows.tolist()):
        both = [
            len(met[item] & met[h]) / np.sqrt(max(1, len(met[h])) * max(1, len(met[item]))) * (h != item)
            for h in history.tolist()
        ]
        text = [cosine(bundle.text_vectors, item, h) for h in history.tolist()]
        image = [cosine(bundle.image_vectors, item, h) for h in history.tolist()]
        expected = {
            "taste": float(bundle.item_embeddings[item] @ user),
            "prior": float(bundle.item_prior[item]),
            "together": sum(v * 0.5 ** ((3 - place) / 10) for place, v in enumerate(both)),
            "together_max": max(both),
            "behavior": max(cosine(bundle.item_embeddings, item, h) for h in history.tolist()),
            "text": np.nan if item == 59 else np.nanmax(text),
            "image": np.nan if item == 59 else np.nanmax(image),
            "text_mean": np.nan if item == 59 else np.nanmean(text),
            "popularity": np.log1p(bundle.popularity[item]) / np.log1p(bundle.popularity.max()),
            "price": abs(np.log(prices[item]) - np.mean(np.log([prices[h] for h in history.tolist()]))),
            "match": float(bundle.match_scores[item]),
            "history": np.log1p(4),
            "freshness": np.nan if item in (0, 12) else -np.log1p(20_100 - 20_000 - item),
            "dated": float(item not in (0, 12)),
            "ctr": np.nan if item == 57 else 0.01 * item,
            "ctr_known": 0.5,
        }
        np.testing.assert_allclose(found[row], [expected[name] for name in FEATURES], rtol=1e-4, atol=1e-5)
    counted = [FEATURES.index("ctr"), FEATURES.index("ctr_known")]
    for scenario, expected_there in (("home", at_home[rows]), ("elsewhere", columns[rows, :2])):
        there = features_of(catalog, asker(user, history, 20_100 * 86_400.0, scenario), rows, standing)
        np.testing.assert_array_equal(there[:, counted], expected_there)
        np.testing.assert_array_equal(np.delete(there, counted, axis=1), np.delete(found, counted, axis=1))
    stranger = features_of(catalog_of(bundle), asker(None, NOBODY), rows, bundle.standing)
    known = {name for name, column in zip(FEATURES, stranger.T, strict=True) if np.isfinite(column).any()}
    assert known == {"prior", "popularity", "match", "history", "dated"}


def test_candidates_come_from_all_sources_once_each_and_never_the_hidden(make_bundle: MakeBundle) -> None:
    embeddings = np.zeros((8, 2))
    embeddings[:3] = [[1, 0], [0.9, 0], [0.8, 0]]
    bundle = make_bundle(
        embeddings,
        popularity=[1, 1, 1, 1, 1, 0, 1, 1],
        together={(0, 3): 5, (0, 1): 2, (0, 7): 1},
        lists={"text": {0: [(4, 0.9), (3, 0.2)]}},
    )
    hidden = np.isin(np.arange(8), [0, 7])
    index = ExactIndex(bundle.item_vectors)
    found = gather(catalog_of(bundle), index, Block.of(asker(np.array([1.0, 0]), np.array([0]))), [hidden], taste=2)
    told = {
        row: (SOURCES[source], anchor)
        for row, source, anchor in zip(found.rows.tolist(), found.source.tolist(), found.anchor.tolist(), strict=True)
    }
    assert told == {
        1: ("personalized", -1),  # and together, but once
        2: ("personalized", -1),
        3: ("together", 0),
        4: ("content", 0),
        5: ("fresh", -1),
    }


def test_weights_planted_in_choices_are_recovered() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros(len(FEATURES))
    truth[[0, 2, 8]] = [1.5, -1.0, 0.5]
    lists, liked = [], []
    for _ in range(3000):
        values = rng.standard_normal((12, len(FEATURES)))
        chosen = np.argmax(values @ truth + rng.gumbel(size=12))  # the choice model whose softmax is learned
        lists.append(values.astype(np.float32))
        liked.append(np.arange(12) == chosen)
    mean, scale, weights = fit_linear(lists, liked, penalty=0.0)
    np.testing.assert_allclose(weights / scale, truth, atol=0.08)
    np.testing.assert_allclose(mean, 0, atol=0.05)
    shrunk = fit_linear(lists, liked, penalty=1.0)[2]
    assert np.abs(shrunk).sum() < 0.7 * np.abs(weights).sum()


def test_a_missing_feature_counts_as_the_mean() -> None:
    ranker = replace(weighing(taste=2.0, price=5.0), mean=np.full(len(FEATURES), 0.5, dtype=np.float32))
    values = np.zeros((2, len(FEATURES)), dtype=np.float32)
    values[:, FEATURES.index("taste")] = 1.5
    values[1, FEATURES.index("price")] = np.nan
    assert ranker.score(values).tolist() == [2.0 - 2.5, 2.0]


def test_there_is_nothing_to_learn_from_users_who_like_none_of_their_candidates() -> None:
    with pytest.raises(ValueError, match="there are none"):
        fit_linear([np.zeros((3, len(FEATURES)), dtype=np.float32)], [np.zeros(3, dtype=np.bool_)], penalty=0.1)


# --- learning and adopting --------------------------------------------------------------------------------------------


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


def test_an_item_came_when_it_says_so_else_when_it_was_first_met() -> None:
    users, items = Vocabulary(("u",)), Vocabulary(("a", "b", "c", "d"))
    rows = np.array([1, 2, 1], dtype=np.int64)
    kinds, weights = np.full(3, "view", dtype=object), np.ones(3, dtype=np.float32)
    events = Interactions(users, items, rows * 0, rows, kinds, weights, np.array([500.0, 300.0, 400.0]) + 1e9)
    said = Attributes.of(
        [(0, "Created_At", "2001-09-10"), (0, "year", "1990"), (2, "released", "soon"), (2, "year", "1970")]
    )
    np.testing.assert_array_equal(came(4, said, events), [1_000_080_000.0, 1e9 + 400, 0.0, np.nan])


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


# --- serving ----------------------------------------------------------------------------------------------------------


def test_a_bundle_s_ranker_orders_the_feed_and_the_ladder_fills_the_rest(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        np.array([[1.0, 0], [0.9, 0], [0.8, 0], [0, 0], [0, 0]]),
        popularity=[9, 4, 4, 4, 1],
        together={(0, 3): 4, (0, 2): 1},
    )
    viewed = UserState(recent_items=("i0",))
    assert [one.item_id for one in BundleRecommender(bundle).recommend(viewed, k=4)] == ["i1", "i2", "i3", "i4"]
    recommender = with_ranker(bundle, weighing(together=10.0, taste=1.0))
    feed = recommender.recommend(viewed, k=4)
    # together 4 / sqrt(36) = .67 and 1 / 6: i3 6.67, i2 1.67 + .8, i1 .9
    told = [(one.item_id, one.source, pytest.approx(one.score, abs=1e-3)) for one in feed[:3]]
    assert told == [("i3", "together", 6.667), ("i2", "personalized", 2.467), ("i1", "personalized", 0.9)]
    assert (feed[3].item_id, feed[3].source) == ("i4", "popular")
    assert feed[0].reasons[:2] == ("because you viewed Item 0", "viewed or bought together by 4 shoppers")
    moment = recommender.moment(Request(3, viewed))
    ranked = recommender.ranked(moment)
    split = recommender.split(moment, ranked)
    for score, parts in zip(ranked.score.tolist(), split, strict=True):
        assert sum(part or 0 for part in parts.values()) == pytest.approx(score, abs=1e-4)
    stranger = recommender.recommend(UserState(), k=2)
    assert [one.source for one in stranger] == ["popular", "popular"]
    assert {one.source for one in recommender.similar_items("i0", k=2)} <= {"published", "content", "popular"}


def test_a_ranker_comes_back_from_a_bundle_as_it_was_written(make_bundle: MakeBundle) -> None:
    ranker = weighing(taste=1.25, match=-0.5)
    again = make_bundle(np.eye(3), ranker=ranker).ranker
    assert again is not None
    np.testing.assert_array_equal(again.weights, ranker.weights)
    assert make_bundle(np.eye(3)).ranker is None
    for broken in ({"format": 2}, {"features": ["luck"]}, {"features": []}):
        with pytest.raises(InputError, match="a ranker must have format 1 and go by some of the features taste, prior"):
            LinearRanker.of_dict({**ranker.as_dict(), **broken})


def test_a_ranker_of_a_version_that_knew_fewer_features_ranks_as_it_did() -> None:
    kept = {"format": 1, "features": ["taste", "match"], "mean": [1, 2], "scale": [2, 4], "weights": [3, 5]}
    ranker = LinearRanker.of_dict(kept)
    values = np.full((1, len(FEATURES)), 7, dtype=np.float32)
    assert ranker.score(values).tolist() == [(7 - 1) / 2 * 3 + (7 - 2) / 4 * 5]


def test_an_age_counts_as_of_the_moment_of_asking(make_bundle: MakeBundle) -> None:
    day = 86_400.0
    bundle = make_bundle(np.array([[1.0, 0], [0.9, 0], [0.8, 0], [0.7, 0]]))
    bundle.__dict__["standing"] = Standing.since(day * np.array([0.0, 10, 90, 300]))
    recommender = with_ranker(bundle, weighing(freshness=1.0, taste=0.01))
    viewed = UserState(recent_items=("i0",))

    def feed(now_s: float) -> list[str]:
        return [one.item_id for one in recommender.answer(Request(3, viewed, now_s=now_s))]

    assert feed(310 * day) == ["i3", "i2", "i1"]
    # 3 is not there yet, which says nothing for or against it: 0, the mean; 2 is new: log(1 + 0) = 0; 1 is 80 days old
    assert feed(90 * day) == ["i2", "i3", "i1"]
    moment = recommender.moment(Request(3, viewed, now_s=100 * day))
    ranked = recommender.ranked(moment)
    told = dict(zip(ranked.rows.tolist(), recommender.split(moment, ranked), strict=True))
    assert {row: parts["freshness"] for row, parts in told.items()} == pytest.approx(
        {1: -np.log1p(90), 2: -np.log1p(10), 3: 0.0}
    )


def test_what_moves_with_time_comes_back_from_a_bundle_and_new_items_join_it(make_bundle: MakeBundle) -> None:
    columns = np.array([[0.5, 0.9, 18_000.0], [np.nan, np.nan, np.nan]], dtype=np.float32)
    there = np.array([[1.5, 0.8], [-0.5, 0.7]], dtype=np.float32)
    bundle = make_bundle(np.eye(2), standing=Standing(columns, {"cart": there, "home": there / 2}))
    np.testing.assert_array_equal(bundle.standing.columns, columns)
    assert list(bundle.standing.scenarios) == ["cart", "home"]
    np.testing.assert_array_equal(bundle.standing.scenarios["home"], there / 2)
    assert np.isnan(make_bundle(np.eye(2)).standing.columns).all()
    place = np.zeros(3, dtype=np.float32)
    shown = {**bundle.display(0), "item_id": "new", "attributes": {"added": ["2020-01-01"]}}
    amended, _, _ = Amendments(bundle, None).apply(
        {"new": Placed(shown, {}, place), "i1": Placed(bundle.display(1), {})}
    )
    np.testing.assert_array_equal(amended.standing.columns[:2], columns)
    np.testing.assert_array_equal(amended.standing.columns[2], np.array([0, 0, 18_262], dtype=np.float32))
    np.testing.assert_array_equal(amended.standing.scenarios["cart"], [*there, [0, 0]])
    quiet, _, _ = Amendments(make_bundle(np.eye(2)), None).apply({"new": Placed(shown, {}, place)})
    assert np.isnan(
        quiet.standing.columns[2, :2]
    ).all()  # a shop without a log knows nothing of how a new item does, either
