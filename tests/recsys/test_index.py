from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.index import ApproximateIndex, ExactIndex, load_index, save_index, top_k
from recsys.index_choice import EFFORTS, build_ivf, choose_index, measure_index


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """4000 items around 40 centers, float32 [4000, 16]."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((40, 16))
    return (centers[rng.integers(40, size=4000)] + 0.4 * rng.standard_normal((4000, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((32, 16)).astype(np.float32)


def naive_best(vectors: np.ndarray, query: np.ndarray, k: int, hidden: set[int]) -> list[int]:
    score = [sum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
    return sorted((row for row in range(len(score)) if row not in hidden), key=lambda row: (-score[row], row))[:k]


@given(
    scores=st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    hidden=st.sets(st.integers(0, 29)),
    k=st.integers(1, 40),
)
def test_top_k_is_the_head_of_a_full_sort(scores: list[int], hidden: set[int], k: int) -> None:
    mask = np.array([row in hidden for row in range(len(scores))])
    found, values = top_k(np.array(scores, dtype=np.float32), k, mask)
    rows = sorted((row for row in range(len(scores)) if row not in hidden), key=lambda row: (-scores[row], row))[:k]
    assert found.tolist() == rows
    assert values.tolist() == [scores[row] for row in rows]


def test_the_exact_index_agrees_with_a_naive_loop(vectors: np.ndarray, queries: np.ndarray) -> None:
    few, hidden = vectors[:200], {3, 5, 8}
    mask = np.isin(np.arange(200), list(hidden))
    for query in queries[:5]:
        assert ExactIndex(few).search(query, 20, mask)[0].tolist() == naive_best(few, query, 20, hidden)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_least_effort_that_reaches_the_target_is_kept(vectors: np.ndarray, queries: np.ndarray, kind: str) -> None:
    measured = measure_index(kind, vectors, queries, k=50, target_recall=0.97)
    assert measured is not None
    searcher, report = measured

    def recall(effort: int) -> float:
        if kind == "ivf":
            searcher.nprobe = effort
        else:
            searcher.hnsw.efSearch = effort
        shares = []
        for query in queries:
            truth = set(np.argsort(-(vectors @ query), kind="stable")[:50].tolist())
            found = ApproximateIndex(vectors, searcher).search(query, 50, np.zeros(4000, dtype=bool))[0]
            shares.append(len(truth & set(found.tolist())) / 50)
        return float(np.mean(shares))

    assert report.kind == kind
    assert recall(report.effort) == pytest.approx(report.recall)
    assert report.recall >= 0.97
    assert all(recall(effort) < 0.97 for effort in EFFORTS if effort < report.effort)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_index_in_less_memory_takes_less_and_still_scores_exactly(
    vectors: np.ndarray, queries: np.ndarray, kind: str, tmp_path: Path
) -> None:
    sizes = {}
    for storage in ("float32", "float16", "int8"):
        measured = measure_index(kind, vectors, queries, storage=storage, k=50)
        assert measured is not None
        assert measured[1].storage == storage
        save_index(measured[0], tmp_path / storage)
        sizes[storage] = (tmp_path / storage).stat().st_size
        found, scores = load_index(tmp_path / storage, vectors).search(queries[0], 10, np.zeros(4000, dtype=bool))
        np.testing.assert_allclose(scores, vectors[found] @ queries[0], rtol=1e-6)
    assert sizes["float32"] - sizes["float16"] == pytest.approx(4000 * 16 * 2, rel=0.05)
    assert sizes["float32"] - sizes["int8"] == pytest.approx(4000 * 16 * 3, rel=0.05)


def test_an_unreachable_target_is_admitted(vectors: np.ndarray, queries: np.ndarray) -> None:
    assert measure_index("hnsw", vectors, queries, k=50, target_recall=1.01) is None
    assert choose_index(vectors, queries, k=50, target_recall=1.01) is None


def test_an_index_is_chosen_only_if_it_is_faster_than_the_exact_search(
    vectors: np.ndarray, queries: np.ndarray
) -> None:
    chosen = choose_index(vectors, queries, k=50)
    assert chosen is None or (chosen[1].query_ms < chosen[1].exact_ms and chosen[1].recall >= 0.95)


def test_what_is_hidden_never_comes_back_and_no_answer_is_cut_short(vectors: np.ndarray, queries: np.ndarray) -> None:
    searcher = build_ivf(vectors)
    index = ApproximateIndex(vectors, searcher)
    best = np.argsort(-(vectors @ queries[0]))
    hidden = np.zeros(4000, dtype=bool)
    hidden[best[:3990]] = True
    found, scores = index.search(queries[0], 20, hidden)
    assert found.tolist() == best[3990:].tolist()
    np.testing.assert_allclose(scores, vectors[found] @ queries[0], rtol=1e-6)


def test_scores_of_the_approximate_index_are_exact(vectors: np.ndarray, queries: np.ndarray) -> None:
    searcher = build_ivf(vectors)
    searcher.nprobe = searcher.nlist
    everyone = np.zeros(4000, dtype=bool)
    for query in queries:
        found, scores = ApproximateIndex(vectors, searcher).search(query, 30, everyone)
        exact, exact_scores = ExactIndex(vectors).search(query, 30, everyone)
        assert found.tolist() == exact.tolist()
        np.testing.assert_allclose(scores, exact_scores, rtol=1e-5)


def test_a_saved_index_finds_the_same_and_only_fits_its_own_vectors(
    vectors: np.ndarray, queries: np.ndarray, tmp_path: Path
) -> None:
    measured = measure_index("hnsw", vectors, queries, k=20)
    assert measured is not None
    save_index(measured[0], tmp_path / "index.faiss")
    loaded = load_index(tmp_path / "index.faiss", vectors)
    assert loaded.searcher.hnsw.efSearch == measured[1].effort
    everyone = np.zeros(4000, dtype=bool)
    before = ApproximateIndex(vectors, measured[0]).search(queries[0], 20, everyone)[0]
    assert loaded.search(queries[0], 20, everyone)[0].tolist() == before.tolist()
    with pytest.raises(ValueError, match=r"must index vectors of shape \(10, 16\), it has \(4000, 16\)"):
        load_index(tmp_path / "index.faiss", vectors[:10])
