from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from recsys.bundle import Bundle
from recsys.search.fusion import Fusion, Listed, mixed, ranks_of, reciprocal
from recsys.search.fusion_fit import Judged, fit_weights, mean_reciprocal_rank
from recsys.search.known_items import known_items, reciprocal_rank, without_words
from recsys.search.spaces import Hits

ROWS = np.array([2, 5, 7, 9])


def hits(*rows: int) -> Hits:
    return Hits(np.array(rows, dtype=np.int64), np.linspace(1, 0.1, len(rows), dtype=np.float32))


def listed(scores: np.ndarray) -> Listed:
    names = tuple(f"c{place}" for place in range(len(scores)))
    order = np.argsort(np.argsort(-scores, axis=1), axis=1) + 1.0
    return Listed(names, np.arange(scores.shape[1]), scores, order)


def test_reciprocal_ranks_add_up_as_the_paper_says() -> None:
    ranks = ranks_of([hits(5, 2, 9), hits(9, 5)], ROWS)
    assert ranks.tolist() == [[2, 1, np.inf, 3], [np.inf, 2, np.inf, 1]]
    score = reciprocal(ranks, np.ones((2, 4), dtype=bool), 60.0).sum(axis=0) * 2 / 61
    np.testing.assert_allclose(score, [1 / 62, 1 / 61 + 1 / 62, 0, 1 / 63 + 1 / 61])


def test_equal_scores_share_the_best_of_their_places() -> None:
    tied = Hits(np.array([2, 5, 7, 9]), np.array([0.9, 0.5, 0.5, 0.1], dtype=np.float32))
    assert ranks_of([tied, hits()], ROWS).tolist() == [[1, 2, 2, 4], [np.inf] * 4]


def test_an_item_first_everywhere_scores_one() -> None:
    ranks = ranks_of([hits(5, 2), hits(5, 9), hits(5)], ROWS)
    assert reciprocal(ranks, np.ones((3, 4), dtype=bool), 60.0).sum(axis=0)[1] == pytest.approx(1.0)


def test_what_an_item_lacks_is_not_held_against_it() -> None:
    scores = np.array([[0.9, 0.5], [np.nan, 0.8]])
    pool = Listed(("a", "b"), np.arange(2), scores, np.array([[1.0, 2], [np.inf, 1]]))
    by_ranks = Fusion(60).parts(pool).sum(axis=0)
    assert by_ranks[0] == pytest.approx(1.0)
    assert by_ranks[1] == pytest.approx((61 / 62 + 1) / 2)
    assert Fusion(60, {"a": 1.0, "b": 1.0}).parts(pool).sum(axis=0).tolist() == pytest.approx([0.9 + 0.8, 0.5 + 0.8])


def test_learned_weights_are_used_for_exactly_their_channels() -> None:
    pool = Listed(("a", "b"), np.arange(3), np.array([[3.0, 2, 1], [0, 5, 1]]), np.array([[1.0, 2, 3], [3, 1, 2]]))
    assert Fusion(60, {"a": 2.0, "b": 0.5}).parts(pool).sum(axis=0).tolist() == [6.0, 6.5, 2.5]
    by_ranks = Fusion(60).parts(pool.of(["a"]))
    assert Fusion(60, {"a": 2.0, "b": 0.5}).parts(pool.of(["a"])).tolist() == by_ranks.tolist()


def test_sides_are_mixed_on_one_scale_and_alone_stay_as_they_are() -> None:
    words, picture = np.array([100.0, 0, 50]), np.array([0.0, 0.1, 0.1])
    assert mixed([words], [0.3]).tolist() == words.tolist()
    assert mixed([words, picture], [1.0, 0.0]).tolist() == words.tolist()
    half = mixed([words, picture], [0.5, 0.5])
    assert half.argmax() == 2
    np.testing.assert_allclose(half, mixed([words * 1000, picture], [0.5, 0.5]))


def test_a_channel_that_knows_outweighs_one_that_guesses() -> None:
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(60):
        right = int(rng.integers(30))
        scores = rng.normal(size=(2, 30))
        scores[0, right] += 3.0
        judged.append(Judged(listed(scores), np.array([right])))
    weights = fit_weights(judged[:30])
    assert weights[0] > 1.0
    assert weights[1] < 0.2 * weights[0]
    learned = mean_reciprocal_rank(judged[30:], Fusion(60, {"c0": weights[0], "c1": weights[1]}))
    assert learned > mean_reciprocal_rank(judged[30:], Fusion(60)) + 0.1


def test_reciprocal_rank_counts_from_one_and_is_zero_where_nothing_is_right() -> None:
    assert reciprocal_rank(np.array([4, 8, 15]), np.array([15, 8])) == 0.5
    assert reciprocal_rank(np.array([4, 8]), np.array([1])) == 0.0


def test_known_items_are_asked_for_by_part_of_their_title_and_twins_are_all_right() -> None:
    titles = ["Red cotton shirt", "red Cotton shirt", "", "红色纯棉衬衫", "Blue mug"]
    asked = known_items(titles, 10, seed=1)
    assert sorted(tuple(one.rows.tolist()) for one in asked) == [(0, 1), (3,), (4,)]
    for one in asked:
        title = titles[one.rows[0]].casefold()
        assert one.words.strip()
        assert all(word in title for word in one.words.split())
    assert [one.words for one in known_items(titles, 10, seed=1)] == [one.words for one in asked]


def test_dropping_words_leaves_at_least_one_in_order() -> None:
    rng = np.random.default_rng(0)
    for n in range(6):
        kept = without_words("a b c d", n, rng).split()
        assert len(kept) == max(1, 4 - n)
        assert kept == sorted(kept)


def test_a_fitted_bundle_says_what_its_fusion_reached(searchable: Path) -> None:
    report = orjson.loads((Bundle.open(searchable / "bundle").path / "search/search.json").read_bytes())
    learned = report["fusion"]["words"]
    assert learned["queries"] == [0, 0]  # 23 titles are too few to learn from and to choose on
    assert learned["weights"] is None
