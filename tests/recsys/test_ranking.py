"""The learned ranker: what it goes by, and how weights come of choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.catalog import Attributes
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.index import ExactIndex
from recsys.ranking.askers import Asker, Block, Floats, Rows
from recsys.ranking.features import FEATURES, Catalog, features
from recsys.ranking.gather import gather
from recsys.ranking.linear import fit_linear
from recsys.ranking.standing import Standing, came
from recsys.recommendation import SOURCES
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]


NOBODY = np.zeros(0, dtype=np.int64)


def catalog_of(bundle: Bundle) -> Catalog:
    return BundleRecommender(bundle).catalog


def asker(user: Floats | None, history: Rows, now_s: float = 0.0, scenario: str = "") -> Asker:
    vector = None if user is None else np.append(user, np.float32(1)).astype(np.float32)
    return Asker(vector, history, now_s, scenario)


def features_of(catalog: Catalog, one: Asker, rows: Rows, standing: Standing) -> Floats:
    return features(catalog, Block.of(one), rows, np.array([0, len(rows)]), standing=standing)


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


def test_there_is_nothing_to_learn_from_users_who_like_none_of_their_candidates() -> None:
    with pytest.raises(ValueError, match="there are none"):
        fit_linear([np.zeros((3, len(FEATURES)), dtype=np.float32)], [np.zeros(3, dtype=np.bool_)], penalty=0.1)


def test_an_item_came_when_it_says_so_else_when_it_was_first_met() -> None:
    users, items = Vocabulary(("u",)), Vocabulary(("a", "b", "c", "d"))
    rows = np.array([1, 2, 1], dtype=np.int64)
    kinds, weights = np.full(3, "view", dtype=object), np.ones(3, dtype=np.float32)
    events = Interactions(users, items, rows * 0, rows, kinds, weights, np.array([500.0, 300.0, 400.0]) + 1e9)
    said = Attributes.of(
        [(0, "Created_At", "2001-09-10"), (0, "year", "1990"), (2, "released", "soon"), (2, "year", "1970")]
    )
    np.testing.assert_array_equal(came(4, said, events), [1_000_080_000.0, 1e9 + 400, 0.0, np.nan])
