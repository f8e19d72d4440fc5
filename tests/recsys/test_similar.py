from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import recsys.similar
from recsys.similar import co_liked, similar_lists


def unknown(n: int) -> np.ndarray:
    return np.full(n, np.nan, dtype=np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_likeness_is_the_mix_of_both_cosines(share: float) -> None:
    rng = np.random.default_rng(3)
    behavior, content = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((30, 6)).astype(np.float32)
    idx, score = similar_lists(behavior, content, unknown(30), k=5, behavior_share=share)
    for item in range(30):
        naive = {
            other: share * cosine(behavior[item], behavior[other]) + (1 - share) * cosine(content[item], content[other])
            for other in range(30)
            if other != item
        }
        best = sorted(naive, key=lambda other: -naive[other])[:5]
        assert idx[item].tolist() == best
        np.testing.assert_allclose(score[item], [naive[other] for other in best], atol=1e-5)


def test_a_distrusted_listing_moves_down() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.05], [1.0, 0.2]], dtype=np.float32)
    trusted = np.array([0.9, 0.9, 0.9], dtype=np.float32)
    assert similar_lists(vectors, vectors, trusted, k=2)[0][0].tolist() == [1, 2]
    doubted = np.array([0.9, 0.05, 0.9], dtype=np.float32)
    idx, score = similar_lists(vectors, vectors, doubted, k=2)
    assert idx[0].tolist() == [2, 1]
    assert score[0, 1] == pytest.approx(cosine(vectors[0], vectors[1]) - 0.2, abs=1e-6)


def test_an_item_of_which_nothing_is_known_is_in_no_list_and_has_none() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    idx, score = similar_lists(vectors, vectors, unknown(3), k=3)
    assert idx.tolist() == [[2, -1, -1], [-1, -1, -1], [0, -1, -1]]
    assert score[1].tolist() == [0, 0, 0]


def test_a_shop_of_one_item_has_empty_lists() -> None:
    assert similar_lists(np.ones((1, 2), dtype=np.float32), np.ones((1, 2)), unknown(1), k=2)[0].tolist() == [[-1, -1]]


def test_the_share_must_be_a_share() -> None:
    with pytest.raises(ValueError, match=r"behavior_share must be in \[0, 1\], it is 1.5"):
        similar_lists(np.ones((2, 2)), np.ones((2, 2)), unknown(2), behavior_share=1.5)


def test_large_catalogs_get_nearly_the_exact_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    centers = rng.standard_normal((30, 200))
    content = (centers[rng.integers(30, size=3000)] + 0.5 * rng.standard_normal((3000, 200))).astype(np.float32)
    behavior = (content[:, :16] + rng.standard_normal((3000, 16))).astype(np.float32)
    exact = similar_lists(behavior, content, unknown(3000), k=10)
    monkeypatch.setattr(recsys.similar, "EXACT_LIMIT", 100)
    fast = similar_lists(behavior, content, unknown(3000), k=10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact[0], fast[0], strict=True)]) > 0.95
    np.testing.assert_allclose(fast[1][:, 0].mean(), exact[1][:, 0].mean(), rtol=1e-3)


def test_items_liked_together_are_counted_by_user() -> None:
    liked = np.array([[1, 1, 0, 0], [2, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]])
    idx, count = co_liked(sparse.csr_matrix(liked), k=2)
    assert idx.tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1]]
    assert count.tolist() == [[3, 2], [3, 1], [2, 1], [0, 0]]
