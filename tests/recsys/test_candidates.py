from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle_parts import NeighborList
from recsys.candidates import Candidates, Neighbors, Personalized, Popular, PopularInCategory, Query, climb_down
from recsys.index import ExactIndex

MakeBundle = Callable[..., Bundle]


def query(
    n_items: int,
    anchors: tuple[int, ...] = (),
    weights: tuple[float, ...] = (),
    *,
    hidden: tuple[int, ...] = (),
    vector: np.ndarray | None = None,
    category: str = "",
) -> Query:
    return Query(
        np.isin(np.arange(n_items), hidden),
        vector,
        np.array(anchors, dtype=np.int64),
        np.array(weights, dtype=np.float32),
        category,
    )


def test_the_personalized_tier_ranks_by_dot_product_and_leaves_out_items_without_a_vector() -> None:
    vectors = np.array([[1, 0], [0, 0], [-2, 1], [3, 1], [2, 5]], dtype=np.float32)
    tier = Personalized(ExactIndex(vectors), ~vectors.any(axis=1))
    found = tier.find(query(5, hidden=(3,), vector=np.array([1, 0], dtype=np.float32)), 10)
    assert found.idx.tolist() == [4, 0, 2]
    assert found.score.tolist() == [2, 1, -2]
    assert tier.find(query(5), 10).idx.tolist() == []


def test_neighbors_of_several_anchors_add_up_by_weight_and_the_strongest_leads() -> None:
    lists = NeighborList(
        np.array([[2, 3, -1], [3, 4, 2], [-1, -1, -1], [-1, -1, -1], [-1, -1, -1]], dtype=np.int32),
        np.array([[0.8, 0.4, 0], [0.9, 0.5, -0.1], [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float32),
    )
    tier = Neighbors("published", [lists])
    found = tier.find(query(5, anchors=(0, 1), weights=(1.0, 0.5)), 10)
    # 2: 0.8 (the negative likeness to 1 is none); 3: 0.4 + 0.45; 4: 0.25
    assert found.idx.tolist() == [3, 2, 4]
    np.testing.assert_allclose(found.score, [0.85, 0.8, 0.25], rtol=1e-6)
    assert found.anchor.tolist() == [1, 0, 1]
    assert tier.find(query(5, anchors=(0, 1), weights=(1.0, 0.5), hidden=(3,)), 1).idx.tolist() == [2]


def test_text_and_image_neighbors_count_together() -> None:
    text = NeighborList(np.array([[1, 2]] * 3, dtype=np.int32), np.array([[0.5, 0.4]] * 3, dtype=np.float32))
    image = NeighborList(np.array([[2, -1]] * 3, dtype=np.int32), np.array([[0.3, 0.0]] * 3, dtype=np.float32))
    found = Neighbors("content", [text, image]).find(query(3, anchors=(0,), weights=(1.0,)), 5)
    assert found.idx.tolist() == [2, 1]
    np.testing.assert_allclose(found.score, [0.7, 0.5], rtol=1e-6)


def test_a_category_counts_as_much_as_its_anchors_and_the_narrower_goes_first(make_bundle: MakeBundle) -> None:
    # rows 0, 1, 2 shoes > boots; 3 shoes; 4, 5 hats
    boots, shoes, hats = ["Shoes", "Shoes > Boots"], ["Shoes"], ["Hats"]
    bundle = make_bundle(
        np.zeros((6, 2)),
        attributes=[{"category": names} for names in (boots, boots, boots, shoes, hats, hats)],
        popularity=[1, 2, 3, 9, 5, 7],
    )
    tier = PopularInCategory(bundle)
    found = tier.find(query(6, anchors=(0, 4), weights=(1.0, 0.5), hidden=(0, 4)), 10)
    assert found.idx.tolist() == [2, 1, 3, 5]  # boots, then all shoes, then hats
    assert found.score.tolist() == [3, 2, 9, 7]
    assert found.anchor.tolist() == [0, 0, 0, 4]
    assert tier.find(query(6, anchors=(0,), weights=(1.0,), category="Hats"), 3).idx.tolist() == [5, 4, 2]
    assert tier.find(query(6, category="Garden"), 3).idx.tolist() == []


def test_the_popular_tier_walks_the_whole_catalog_if_it_must() -> None:
    popularity = np.arange(5000, dtype=np.float32)
    found = Popular(popularity).find(query(5000, hidden=tuple(range(3, 5000))), 2)
    assert found.idx.tolist() == [2, 1]
    assert Popular(np.zeros(3, dtype=np.float32)).find(query(3), 9).idx.tolist() == [0, 1, 2]


def test_lower_tiers_fill_what_is_left_and_repeat_nothing() -> None:
    class Fixed:
        def __init__(self, source: str, rows: list[int]) -> None:
            self.source, self.rows, self.asked = source, rows, []

        def find(self, query: Query, k: int) -> Candidates:
            self.asked.append(k)
            idx = np.array([row for row in self.rows if not query.hidden[row]][:k], dtype=np.int64)
            return Candidates.of(idx, np.ones(len(idx), dtype=np.float32))

    tiers = [
        Fixed("personalized", [4, 1]),
        Fixed("content", []),
        Fixed("published", [1, 0, 4, 2]),
        Fixed("popular", [3]),
    ]
    start = query(5)
    answer = [(source, found.idx.tolist()) for source, found in climb_down(tiers, start, 4)]
    assert answer == [("personalized", [4, 1]), ("published", [0, 2])]
    assert [tier.asked for tier in tiers] == [[4], [2], [2], []]
    assert not start.hidden.any()
