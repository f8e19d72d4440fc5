"""The learned ranker in a bundle: how it is kept, and what it makes of a feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.errors import InputError
from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placed
from recsys.bundle import Bundle
from recsys.pipeline.request import Request
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import Standing
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]


def weighing(**weights: float) -> LinearRanker:
    """A ranker that goes by these features alone, as they are."""
    n = len(FEATURES)
    given = np.array([weights.get(name, 0.0) for name in FEATURES], dtype=np.float32)
    return LinearRanker(np.zeros(n, dtype=np.float32), np.ones(n, dtype=np.float32), given, {})


def with_ranker(bundle: Bundle, ranker: LinearRanker) -> BundleRecommender:
    bundle.__dict__["ranker"] = ranker
    return BundleRecommender(bundle)


def test_a_missing_feature_counts_as_the_mean() -> None:
    ranker = replace(weighing(taste=2.0, price=5.0), mean=np.full(len(FEATURES), 0.5, dtype=np.float32))
    values = np.zeros((2, len(FEATURES)), dtype=np.float32)
    values[:, FEATURES.index("taste")] = 1.5
    values[1, FEATURES.index("price")] = np.nan
    assert ranker.score(values).tolist() == [2.0 - 2.5, 2.0]


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
