from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from features.vectors import nearest as module
from features.vectors.nearest import Metric, nearest, nearest_others

METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "manhattan")


def score(a: np.ndarray, b: np.ndarray, metric: Metric) -> float:
    a, b = a.astype(float), b.astype(float)
    match metric:
        case "cosine":
            return float(sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5)
        case "euclidean":
            return -(sum((a - b) ** 2) ** 0.5)
        case _:
            return -sum(abs(a - b))


def naive(queries: np.ndarray, vectors: np.ndarray, k: int, metric: Metric, keep: np.ndarray) -> list[list[int]]:
    found = []
    for query in queries:
        scored = [(-score(query, vectors[row], metric), row) for row in np.flatnonzero(keep)]
        found.append([row for _, row in sorted(scored)[:k]])
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_are_those_of_a_naive_loop(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(90, 7)) * rng.uniform(0.1, 10, size=(90, 1))).astype(np.float32)
    queries = rng.normal(size=(23, 7)).astype(np.float32)
    keep = rng.random(90) < 0.8
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 90 * 4)  # a few rows a chunk
    found = nearest(queries, vectors, 6, metric=metric, mask=keep)
    assert found.idx.tolist() == naive(queries, vectors, 6, metric, keep)
    for row, columns in enumerate(found.idx):
        expected = [score(queries[row], vectors[column], metric) for column in columns]
        np.testing.assert_allclose(found.score[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_no_row_is_its_own_neighbor_and_masked_rows_neither_have_nor_are_one(metric: Metric) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    keep = np.arange(40) % 3 > 0
    found = nearest_others(vectors, 4, metric=metric, mask=keep)
    for row in range(40):
        others = keep & (np.arange(40) != row)
        expected = naive(vectors[row : row + 1], vectors, 4, metric, others)[0] if keep[row] else [-1] * 4
        assert found.idx[row].tolist() == expected
    assert np.isneginf(found.score[0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_where_too_few_are_left_the_rest_is_empty_and_equals_come_by_row(metric: Metric) -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    found = nearest_others(vectors, 5, metric=metric)
    assert found.idx[0].tolist() == [1, 3, 2, -1, -1]
    assert found.idx[3].tolist() == [0, 1, 2, -1, -1]
    alone = nearest_others(vectors[:1], 2, metric=metric)
    assert alone.idx.tolist() == [[-1, -1]]


def test_a_zero_row_has_no_direction_but_has_a_place() -> None:
    vectors = np.array([[0, 0], [1, 0], [2, 1]], dtype=np.float32)
    assert nearest_others(vectors, 2).idx.tolist() == [[-1, -1], [2, -1], [1, -1]]
    assert nearest_others(vectors, 2, metric="euclidean").idx.tolist() == [[1, 2], [0, 2], [1, 0]]


def test_euclidean_neighbors_far_from_the_origin_are_exact() -> None:
    """|q|^2 + |b|^2 - 2 q.b alone would be all rounding error here."""
    rng = np.random.default_rng(2)
    vectors = (1000 + rng.normal(size=(200, 32)) * 0.01).astype(np.float32)
    found = nearest_others(vectors, 3, metric="euclidean")
    for row in range(0, 200, 17):
        others = np.arange(200) != row
        assert found.idx[row].tolist() == naive(vectors[row : row + 1], vectors, 3, "euclidean", others)[0]


@pytest.mark.parametrize("metric", ["cosine", "manhattan"])
def test_memory_is_bounded_by_the_chunk(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 500_000)
    vectors = np.random.default_rng(3).normal(size=(3000, 4)).astype(np.float32)
    tracemalloc.start()
    nearest_others(vectors, 5, metric=metric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000 < 3000 * 3000 * 4


def test_what_cannot_be_searched_is_refused() -> None:
    vectors = np.ones((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="k must be at least 1"):
        nearest(vectors, vectors, 0)
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        nearest(vectors[:, :1], vectors, 1)
    with pytest.raises(ValueError, match="metric must be one of cosine"):
        nearest(vectors, vectors, 1, metric="hamming")  # type: ignore[arg-type]
