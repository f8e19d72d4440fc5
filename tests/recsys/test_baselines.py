from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from features.encoders.embeddings import Embeddings, ItemVectors
from features.vocabulary import Vocabulary
from recsys.baselines.als import fit_als
from recsys.baselines.bpr import fit_bpr
from recsys.baselines.config import BaselinesConfig
from recsys.baselines.content import fit_content
from recsys.baselines.fit import fit_baselines
from recsys.baselines.item_knn import bm25_weights, cosine_weights, fit_item_knn, neighbors
from recsys.baselines.popularity import fit_popularity
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.split import Split, random_split
from tests.events import events_of

ONE_OF_EACH = BaselinesConfig(
    knn_neighbors=(10,),
    knn_weightings=("cosine",),
    als_alphas=(10.0,),
    als_penalties=(0.03,),
    als_factors=(8,),
    bpr_rates=(0.05,),
    bpr_penalties=(0.01,),
    bpr_factors=(8,),
    bpr_max_passes=20,
)


def train_only(pairs: list[tuple[int, int]], *, n_users: int, n_items: int) -> Split:
    nothing = events_of([], n_users=n_users, n_items=n_items)
    return Split("train only", events_of(pairs, n_users=n_users, n_items=n_items), nothing, nothing)


@pytest.fixture
def world() -> Split:
    rng = np.random.default_rng(0)
    pairs = [(u, 2 * int(i) + u % 2) for u in range(60) for i in rng.permutation(20)[:10]]
    return random_split(events_of(pairs, n_users=60, n_items=40), seed=0)


def test_popularity_counts_users_and_not_events() -> None:
    split = train_only([(0, 1), (0, 1), (0, 1), (1, 2), (2, 2)], n_users=3, n_items=4)
    assert fit_popularity(split).score(np.array([0])).tolist() == [[0, 1, 2, 0]]


def test_item_neighbors_by_hand() -> None:
    split = train_only([(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 2)], n_users=3, n_items=4)
    scorer = fit_item_knn(split, ONE_OF_EACH, seed=0)
    near = 2 / np.sqrt(2 * 3)  # items 0 and 1: two users in common, 2 and 3 users
    far = 1 / np.sqrt(3 * 1)  # items 1 and 2
    assert scorer.score(np.array([0, 2])) == pytest.approx(np.array([[near, near, far, 0], [near, far, far, 0]]))


def test_only_the_nearest_neighbors_are_kept_and_an_item_is_not_its_own() -> None:
    rng = np.random.default_rng(0)
    weights = sparse.csr_matrix(rng.random((30, 50)) * (rng.random((30, 50)) < 0.3), dtype=np.float32)
    kept = neighbors(weights, 4).toarray()
    whole = (weights @ weights.T).toarray()
    np.fill_diagonal(whole, 0)
    for row in range(30):
        nearest = np.argsort(-whole[row])[:4]
        expected = np.where(np.isin(np.arange(30), nearest), whole[row], 0)
        assert kept[row] == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Method expects CSR input")
@pytest.mark.parametrize("kind", ["cosine", "bm25"])
def test_neighbors_are_those_of_implicit(world: Split, kind: str) -> None:
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    user_items = world.train.matrix(binary=True)
    theirs = (CosineRecommender if kind == "cosine" else BM25Recommender)(K=40, num_threads=1)
    theirs.fit(user_items, show_progress=False)
    expected = theirs.similarity.toarray()
    np.fill_diagonal(expected, 0)
    weigh = cosine_weights if kind == "cosine" else bm25_weights
    assert neighbors(weigh(user_items.T.tocsr()), 40).toarray() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_content_scores_the_cosine_of_profile_and_item() -> None:
    split = train_only([(0, 0), (0, 1)], n_users=2, n_items=4)
    text = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.float32)
    vectors = ItemVectors(Embeddings.of(text, np.ones(4, dtype=bool), "words"), Embeddings.missing(4, 3, "none"))
    scores = fit_content(split, vectors, BaselinesConfig(), seed=0).score(np.array([0, 1]))
    half = np.sqrt(0.5)
    assert scores == pytest.approx(np.array([[half, half, 1, 0], [0, 0, 0, 0]]), abs=1e-6)


def test_content_refuses_vectors_of_another_catalog() -> None:
    none = Embeddings.missing(3, 2, "none")
    with pytest.raises(ValueError, match=r"a row an item \(4\), they have 3"):
        fit_content(train_only([(0, 0)], n_users=1, n_items=4), ItemVectors(none, none), BaselinesConfig(), seed=0)


@pytest.mark.parametrize("fit", [fit_als, fit_bpr, fit_item_knn])
def test_what_is_chosen_is_the_best_on_validation(world: Split, fit: object) -> None:
    config = BaselinesConfig(
        tuned_k=10,
        knn_neighbors=(1, 10),
        knn_weightings=("cosine",),
        als_alphas=(10.0,),
        als_penalties=(100.0, 0.03),
        als_factors=(8,),
        bpr_rates=(1e-6, 0.05),
        bpr_penalties=(0.01,),
        bpr_factors=(8,),
    )
    scorer = fit(world, config, seed=0)  # type: ignore[operator]
    judge = EvaluationConfig(ks=(10,), bootstrap_samples=0)
    recall = evaluate(scorer, world, on="valid", config=judge).metrics["recall@10"]
    assert scorer.params["valid_recall@10"] == pytest.approx(recall, abs=1e-6)
    worse = {"als_penalties": (100.0,), "bpr_rates": (1e-6,), "knn_neighbors": (1,)}
    first_only = fit(world, config.model_copy(update=worse), seed=0)  # type: ignore[operator]
    assert recall > evaluate(first_only, world, on="valid", config=judge).metrics["recall@10"]


def test_the_test_side_is_not_looked_at(world: Split) -> None:
    nothing = events_of([], n_users=60, n_items=40)
    without = Split("no test", world.train, world.valid, nothing)
    users = np.arange(60)
    for one, other in zip(
        fit_baselines(world, config=ONE_OF_EACH), fit_baselines(without, config=ONE_OF_EACH), strict=True
    ):
        np.testing.assert_array_equal(one.score(users), other.score(users))


def test_without_validation_pairs_the_first_of_each_grid_is_fitted_once() -> None:
    pairs = [(u, (u * 3 + i) % 12) for u in range(20) for i in range(4)]
    split = train_only(pairs, n_users=20, n_items=12)
    fitted = {scorer.name: scorer for scorer in fit_baselines(split, config=BaselinesConfig(bpr_max_passes=10))}
    defaults = BaselinesConfig()
    assert fitted["als"].params["factors"] == defaults.als_factors[0]
    assert fitted["als"].params["iterations"] == defaults.als_iterations
    assert fitted["bpr"].params["learning_rate"] == defaults.bpr_rates[0]
    assert fitted["item_knn"].params["neighbors"] == defaults.knn_neighbors[0]
    assert all(scorer.params.get("tried", 1) == 1 for scorer in fitted.values())


def test_where_all_validation_items_are_new_only_content_is_tuned() -> None:
    train, nothing = events_of([(0, 0), (1, 1), (0, 1)], n_users=2, n_items=4), events_of([], n_users=2, n_items=4)
    split = Split("cold", train, events_of([(0, 2), (1, 3)], n_users=2, n_items=4), nothing)
    text, image = (Embeddings.of(np.eye(4, dtype=np.float32), np.ones(4, dtype=bool), kind) for kind in ("t", "i"))
    fitted = {s.name: s for s in fit_baselines(split, vectors=ItemVectors(text, image), config=BaselinesConfig())}
    tried = {name: fitted[name].params["tried"] for name in ("item_knn", "als", "bpr", "content")}
    assert tried == {"item_knn": 1, "als": 1, "bpr": 1, "content": len(BaselinesConfig().image_shares)}
    assert "nothing to choose on" in str(fitted["als"].params["note"])


def test_a_shop_without_events_has_baselines_that_know_nothing() -> None:
    none = Embeddings.missing(6, 2, "none")
    split = train_only([], n_users=0, n_items=6)
    fitted = list(fit_baselines(split, vectors=ItemVectors(none, none), config=BaselinesConfig()))
    assert [scorer.name for scorer in fitted] == list(BaselinesConfig().models)
    for scorer in fitted:
        found = evaluate(scorer, split, on="test")
        assert found.n_users == 0
        assert np.isnan(found.metrics["recall@20"])


def test_a_spent_budget_leaves_values_out_and_says_how_many(world: Split) -> None:
    config = BaselinesConfig(time_budget_s=1e-9, als_factors=(8, 4), als_alphas=(10.0,), als_penalties=(0.03, 0.1))
    assert fit_als(world, config, seed=0).params["left_out_by_time_budget"] == 2


def test_a_factorization_that_runs_away_is_refused_and_not_ranked(world: Split) -> None:
    config = ONE_OF_EACH.model_copy(update={"bpr_rates": (1e6,), "bpr_penalties": (1e6,)})
    with pytest.raises(ValueError, match="bpr: every value tried gave scores that are not finite"):
        fit_bpr(world, config, seed=0)


@pytest.mark.real_data
def test_tuned_baselines_keep_their_order_on_real_likes(real_data: Path) -> None:
    import pandas as pd

    from recsys.split import file_split

    shop = real_data / "ml100k-posters"
    table = pd.read_parquet(shop / "interactions.parquet")
    items = pd.read_parquet(shop / "items.parquet")["item_id"].tolist()
    users = Vocabulary.of(table["user_id"].tolist())
    catalog = Vocabulary.of(items)
    pairs = zip(users.idxs(table["user_id"]).tolist(), catalog.idxs(table["item_id"]).tolist(), strict=True)
    counted = events_of(list(pairs), n_users=len(users), n_items=len(catalog))
    interactions = replace(counted, users=users, items=catalog)
    split = file_split(interactions, shop / "split-warm.parquet")
    config = BaselinesConfig(
        models=("random", "popularity", "item_knn", "als"),
        als_alphas=(15.0,),
        als_penalties=(0.1, 0.03),
        als_factors=(64,),
        time_budget_s=None,
    )
    judge = EvaluationConfig(bootstrap_samples=0)
    recall = {
        scorer.name: evaluate(scorer, split, on="test", config=judge).metrics["recall@20"]
        for scorer in fit_baselines(split, config=config)
    }
    assert recall["random"] < 0.02
    assert recall["popularity"] == pytest.approx(0.207, abs=0.01)
    assert recall["item_knn"] > 0.34
    assert recall["als"] > 0.39
