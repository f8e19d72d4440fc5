"""Choosing an approximate index by measurement, once, when a bundle is written.

HNSW (Malkov and Yashunin, arXiv:1603.09320) and inverted lists (IVF) are both built, their effort is raised until they
find what the exact search finds, and the faster one is kept, if it is faster than the exact search at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from recsys.index import ApproximateIndex, ExactIndex

log = structlog.get_logger()

EFFORTS = (16, 32, 64, 128, 256, 512)
"""Tried in this order: HNSW's efSearch, and IVF's nprobe."""


@dataclass(frozen=True)
class IndexReport:
    """How an index was chosen.

    Args:
        kind: "hnsw" or "ivf".
        effort: efSearch or nprobe.
        recall: share of the exact top k that it finds, mean over the queries.
        query_ms: median time of one search.
        exact_ms: the exact search's, beside it.
    """

    kind: str
    effort: int
    recall: float
    query_ms: float
    exact_ms: float

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def measure_index(
    kind: str, vectors: NDArray[np.float32], queries: NDArray[np.float32], *, k: int = 100, target_recall: float = 0.95
) -> tuple[Any, IndexReport] | None:
    """Build one kind of index and raise its effort until it reaches the target.

    Args:
        kind: "hnsw" or "ivf".
        vectors: float32 [n_items, dim].
        queries: float32 [n, dim] to measure with.
        k: recall is measured at this depth.
        target_recall: in (0, 1].

    Returns:
        The faiss index, its effort set, and the report; None where no effort in `EFFORTS` reaches the target.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    build, set_effort = {"hnsw": (_hnsw, _set_ef), "ivf": (build_ivf, _set_probes)}[kind]
    asked = [np.ascontiguousarray(query, dtype=np.float32) for query in queries]
    nobody = np.zeros(len(vectors), dtype=np.bool_)
    exact = ExactIndex(vectors)
    truth = [set(exact.search(query, k, nobody)[0].tolist()) for query in asked]
    searcher = build(vectors)
    approximate = ApproximateIndex(vectors, searcher)
    for effort in EFFORTS:
        set_effort(searcher, effort)
        found = [set(approximate.search(query, k, nobody)[0].tolist()) for query in asked]
        recall = float(np.mean([len(a & b) / len(b) for a, b in zip(found, truth, strict=True)]))
        if recall >= target_recall:
            query_ms = _median_ms(lambda query: approximate.search(query, k, nobody), asked)
            exact_ms = _median_ms(lambda query: exact.search(query, k, nobody), asked)
            return searcher, IndexReport(kind, effort, recall, query_ms, exact_ms)
    return None


def choose_index(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    *,
    k: int = 100,
    target_recall: float = 0.95,
    seed: int = 0,
) -> tuple[Any, IndexReport] | None:
    """Build HNSW and IVF and keep the faster one that reaches the target.

    Args:
        vectors: float32 [n_items, dim].
        queries: float32 [n, dim] to measure with, such as user embeddings; 64 are drawn.
        k: recall is measured at this depth.
        target_recall: in (0, 1].
        seed: draws the queries.

    Returns:
        As `measure_index`; None where the exact search is faster, or neither kind reaches the target.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(queries))[:64])
    best: tuple[Any, IndexReport] | None = None
    for kind in ("ivf", "hnsw"):
        measured = measure_index(kind, vectors, queries[drawn], k=k, target_recall=target_recall)
        if measured is None:
            log.info("index misses the target", kind=kind, target_recall=target_recall)
            continue
        report = measured[1]
        log.info("index measured", **report.as_dict())
        if report.query_ms < (best[1].query_ms if best else report.exact_ms):
            best = measured
    return best


def build_ivf(vectors: NDArray[np.float32]) -> Any:
    """Inverted lists of these vectors (float32 [n_items, dim]), metric inner product; set `nprobe` before searching."""
    import faiss

    n_items, dim = vectors.shape
    n_lists = max(1, min(n_items // 40, int(4 * n_items**0.5)))
    searcher = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, faiss.METRIC_INNER_PRODUCT)
    searcher.train(vectors)
    searcher.add(vectors)
    return searcher


def _hnsw(vectors: NDArray[np.float32]) -> Any:
    import faiss

    searcher = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    searcher.add(vectors)
    return searcher


def _set_probes(searcher: Any, effort: int) -> None:
    searcher.nprobe = effort


def _set_ef(searcher: Any, effort: int) -> None:
    searcher.hnsw.efSearch = effort


def _median_ms(search: Callable[[NDArray[np.float32]], object], queries: Iterable[NDArray[np.float32]]) -> float:
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
