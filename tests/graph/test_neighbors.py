from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.vectors import nearest as module
from graph.neighbors import Neighbors, top_neighbors


def naive(vectors: NDArray[np.float32], k: int, mask: NDArray[np.bool_]) -> list[list[int]]:
    lists = []
    for row, one in enumerate(vectors):
        scored = []
        for other, two in enumerate(vectors):
            if row != other and mask[row] and mask[other] and one.any() and two.any():
                cosine = float(one.astype(float) @ two / (np.linalg.norm(one) * np.linalg.norm(two)))
                scored.append((-round(cosine, 5), other))
        lists.append([other for _, other in sorted(scored)[:k]])
    return lists


@pytest.mark.parametrize("chunk_bytes", [64_000_000, 1, 2_000])
def test_lists_are_those_of_a_naive_loop_whatever_the_chunk(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 5)).astype(np.float32)
    vectors[7] = 0
    mask = rng.random(40) < 0.8
    found = top_neighbors(vectors, 6, mask=mask)
    assert [[i for i in row if i >= 0] for row in found.idx.tolist()] == naive(vectors, 6, mask)


def test_scores_are_cosines_best_first() -> None:
    vectors = np.array([[1, 0], [2, 0], [1, 1], [0, 3]], dtype=np.float32)
    found = top_neighbors(vectors, 2, mask=np.ones(4, dtype=bool))
    assert found.idx.tolist() == [[1, 2], [0, 2], [0, 1], [2, 0]]
    np.testing.assert_allclose(found.score[0], [1, np.sqrt(0.5)], rtol=1e-6)


def test_of_equal_scores_the_lower_row_comes_first() -> None:
    found = top_neighbors(np.ones((5, 3), dtype=np.float32), 2, mask=np.ones(5, dtype=bool))
    assert found.idx.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


def test_masked_and_zero_rows_neither_have_neighbors_nor_are_one() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32)
    found = top_neighbors(vectors, 3, mask=np.array([True, True, True, False]))
    assert found.idx.tolist() == [[1, -1, -1], [0, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert found.score[:, 1:].sum() == 0


@pytest.mark.parametrize("n", [0, 1])
def test_nobody_to_be_alike_gives_empty_lists(n: int) -> None:
    found = top_neighbors(np.ones((n, 2), dtype=np.float32), 3, mask=np.ones(n, dtype=bool))
    assert found.idx.tolist() == [[-1, -1, -1]] * n


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_neighbors(np.ones((2, 2), dtype=np.float32), 0, mask=np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="with a mask"):
        top_neighbors(np.ones((2, 2), dtype=np.float32), 1, mask=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="idx and score must be"):
        Neighbors(np.zeros((2, 1), dtype=np.int64), np.zeros((2, 2), dtype=np.float32))
