"""Many users ranked at once: nobody's answer depends on who else is asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.index import ApproximateIndex
from recsys.pipeline.request import Request
from recsys.pipeline.taste import Taste
from recsys.ranking.askers import NEWEST, Asker, Block, falling, starts
from recsys.ranking.features import FEATURES
from recsys.ranking.gather import gather
from recsys.ranking.linear import LinearRanker
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender

DAY_S = 86_400.0


@pytest.fixture
def shop(small_bundle: Path) -> BundleRecommender:
    """Sixty items; a ranker that goes by everything."""
    bundle = Bundle.open(small_bundle)
    numbers = np.random.default_rng(5).uniform(0.1, 1, (3, len(FEATURES))).astype(np.float32)
    bundle.__dict__["ranker"] = LinearRanker(*numbers, report={})
    return BundleRecommender(bundle)


def requests(bundle: Bundle, rng: np.random.Generator, n: int) -> list[Request]:
    """Known users, visitors with few or many events, strangers, pages of items; with filters, at several moments."""
    found = []
    for number in range(n):
        viewed = tuple(bundle.items[row] for row in rng.integers(0, 60, rng.integers(0, 40)).tolist())
        user = UserState(*(f"u{number % 20}" if number % 3 else None, viewed))
        request = Request(5, user, now_s=rng.integers(100) * DAY_S, scenario=("", "home")[number % 2])
        if number % 4 == 0:
            request = replace(request, allowed=rng.random(60) < 0.4)
        if number % 7 == 0:
            request = replace(request, page=bundle.items[number % 60], weights={"text": 1.0} if number % 2 else None)
        found.append(request)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_made_among_others_is_bit_by_bit_the_one_made_alone(shop: BundleRecommender, seed: int) -> None:
    asked = requests(shop.bundle, np.random.default_rng(seed), 16)
    moments = [shop.moment(request) for request in asked]
    stages = [[Taste(0.3)] if place % 3 == 0 else [] for place in range(16)]
    ranked = shop.ranked_all(moments, stages)
    reasons = shop.reasons_all(moments, ranked)
    assert sum(map(shop.ranks, moments)) > 5
    for request, its_stages, found, why in zip(asked, stages, ranked, reasons, strict=True):
        moment = shop.moment(request)  # another one: what was found for the first is kept with it
        alone = shop.ranked(moment, its_stages)
        assert len(found) == 5
        for column in ("rows", "score", "source", "anchor", "merit", "propensity"):
            np.testing.assert_array_equal(getattr(found, column), getattr(alone, column))
        assert why == shop.reasons(moment, alone)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_a_block_fall_as_those_of_each_user_and_ties_keep_their_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.choice([-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-38, 2.0, np.inf], 200).astype(np.float32)
    scores[::3] = rng.normal(size=67).astype(np.float32)
    start = starts([0, 60, 1, 0, 139, 0])
    expected = [begin + np.argsort(-scores[begin:end], kind="stable") for begin, end in pairwise(start.tolist())]
    assert falling(scores, start).tolist() == np.concatenate(expected).tolist()


def test_candidates_of_a_block_are_those_of_each_user(shop: BundleRecommender) -> None:
    rng, ones = np.random.default_rng(0), np.ones(1, dtype=np.float32)
    askers = [
        Asker(np.concatenate([np.asarray(vector), ones]), rng.integers(0, 60, n))
        for vector, n in zip(shop.bundle.user_embeddings[:6], (1, 5, 30, 0, 20, 60), strict=True)
    ]
    hidden = list(rng.random((6, 60)) < 0.3)
    found = gather(shop.catalog, shop.index, Block.of(*askers), hidden, taste=8)
    for place, (asker, not_shown) in enumerate(zip(askers, hidden, strict=True)):
        alone = gather(shop.catalog, shop.index, Block.of(asker), [not_shown], taste=8)
        mine = slice(*found.start[place : place + 2])
        assert not not_shown[alone.rows].any()
        assert alone.rows.tolist() == sorted(set(alone.rows.tolist()))
        for column in ("rows", "source", "anchor"):
            assert getattr(found, column)[mine].tolist() == getattr(alone, column).tolist()


def test_a_block_holds_the_newest_of_each_history_newest_first() -> None:
    block = Block.of(
        Asker(None, np.arange(50)), Asker(None, np.zeros(0, dtype=np.int64)), Asker(None, np.array([7, 8]))
    )
    assert block.led.tolist() == [*range(49, 49 - NEWEST, -1), 8, 7]
    assert block.whose.tolist() == [0] * NEWEST + [2, 2]
    assert block.turn.tolist() == [*range(NEWEST), 0, 1]
    assert starts([3, 0, 2]).tolist() == [0, 3, 3, 5]


def test_an_approximate_index_finds_the_same_for_a_query_among_others() -> None:
    import faiss

    rng = np.random.default_rng(2)
    vectors, queries = (rng.standard_normal((n, 16)).astype(np.float32) for n in (3000, 16))
    searcher = faiss.index_factory(16, "IVF32,Flat", faiss.METRIC_INNER_PRODUCT)
    searcher.train(vectors)
    searcher.add(vectors)
    searcher.nprobe = 4
    index, hidden = ApproximateIndex(vectors, searcher), list(rng.random((16, 3000)) < 0.5)
    for query, not_shown, found in zip(queries, hidden, index.search_all(queries, 20, hidden), strict=True):
        for mine, alone in zip(found, index.search(query, 20, not_shown), strict=True):
            np.testing.assert_array_equal(mine, alone)
