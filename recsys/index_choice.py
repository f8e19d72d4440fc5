"""Choosing an approximate index by measurement, once, when a bundle is written.

HNSW (Malkov and Yashunin, arXiv:1603.09320) and inverted lists (IVF) are both built, their effort is raised until they
find what the exact search finds, and the faster one is kept, if it is faster than the exact search at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from recsys.index import ApproximateIndex, ExactIndex

log = structlog.get_logger()

Storage = Literal["float32", "float16", "int8"]
"""How an index keeps the vectors it looks through: exactly, in half the memory, or in a quarter (a byte a dimension,
between its least and its largest value). Candidates are scored from the exact vectors in every case."""
EFFORTS = (16, 32, 64, 128, 256, 512)
"""Tried in this order: HNSW's efSearch, and IVF's nprobe."""


@dataclass(frozen=True)
class IndexReport:
    """How an index was chosen.

    Args:
        kind: "hnsw" or "ivf".
        storage: how it keeps the vectors.
        effort: efSearch or nprobe.
        recall: share of the exact top k that it finds, mean over the queries.
        query_ms: median time of one search.
        exact_ms: the exact search's, beside it.
    """

    kind: str
    storage: Storage
    effort: int
    recall: float
    query_ms: float
    exact_ms: float

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def measure_index(
    kind: str,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    *,
    storage: Storage = "float32",
    k: int = 100,
    target_recall: float = 0.95,
) -> tuple[Any, IndexReport] | None:
    """Build one kind of index and raise its effort until it reaches the target.

    Args:
        kind: "hnsw" or "ivf".
        vectors: float32 [n_items, dim].
        queries: float32 [n, dim] to measure with.
        storage: how the index keeps the vectors.
        k: recall is measured at this depth.
        target_recall: in (0, 1].

    Returns:
        The faiss index, its effort set, and the report; None where no effort in `EFFORTS` reaches the target.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    asked = [np.ascontiguousarray(query, dtype=np.float32) for query in queries]
    nobody = np.zeros(len(vectors), dtype=np.bool_)
    exact = ExactIndex(vectors)
    truth = [set(exact.search(query, k, nobody)[0].tolist()) for query in asked]
    searcher = build_index(kind, vectors, storage)
    approximate = ApproximateIndex(vectors, searcher)
    for effort in EFFORTS:
        set_effort(kind, searcher, effort)
        found = [set(approximate.search(query, k, nobody)[0].tolist()) for query in asked]
        recall = float(np.mean([len(a & b) / len(b) for a, b in zip(found, truth, strict=True)]))
        if recall >= target_recall:
            query_ms = _median_ms(lambda query: approximate.search(query, k, nobody), asked)
            exact_ms = _median_ms(lambda query: exact.search(query, k, nobody), asked)
            return searcher, IndexReport(kind, storage, effort, recall, query_ms, exact_ms)
    return None


def choose_index(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    *,
    storage: Storage = "float32",
    k: int = 100,
    target_recall: float = 0.95,
    seed: int = 0,
) -> tuple[Any, IndexReport] | None:
    """Build HNSW and IVF and keep the faster one that reaches the target.

    Args:
        vectors: float32 [n_items, dim].
        queries: float32 [n, dim] to measure with, such as user embeddings; 64 are drawn.
        storage: how the index keeps the vectors.
        k: recall is measured at this depth.
        target_recall: in (0, 1].
        seed: draws the queries.

    Returns:
        As `measure_index`; None where the exact search is faster, or neither kind reaches the target.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(queries))[:64])
    best: tuple[Any, IndexReport] | None = None
    for kind in ("ivf", "hnsw"):
        measured = measure_index(kind, vectors, queries[drawn], storage=storage, k=k, target_recall=target_recall)
        if measured is None:
            log.info("index misses the target", kind=kind, target_recall=target_recall)
            continue
        report = measured[1]
        log.info("index measured", **report.as_dict())
        if report.query_ms < (best[1].query_ms if best else report.exact_ms):
            best = measured
    return best


def build_index(kind: str, vectors: NDArray[np.float32], storage: Storage) -> Any:
    """An index of kind "hnsw" or "ivf" of these vectors (float32 [n_items, dim]); set its effort before searching."""
    return (build_ivf if kind == "ivf" else _hnsw)(vectors, storage)


def set_effort(kind: str, searcher: Any, effort: int) -> None:
    """How thoroughly an index looks: IVF's nprobe, HNSW's efSearch."""
    if kind == "ivf":
        searcher.nprobe = effort
    else:
        searcher.hnsw.efSearch = effort


def build_ivf(vectors: NDArray[np.float32], storage: Storage = "float32") -> Any:
    """Inverted lists of these vectors (float32 [n_items, dim]), metric inner product; set `nprobe` before searching."""
    import faiss

    n_items, dim = vectors.shape
    n_lists = max(1, min(n_items // 40, int(4 * n_items**0.5)))
    coarse = faiss.IndexFlatIP(dim)
    if storage == "float32":
        searcher = faiss.IndexIVFFlat(coarse, dim, n_lists, faiss.METRIC_INNER_PRODUCT)
    else:
        searcher = faiss.IndexIVFScalarQuantizer(coarse, dim, n_lists, _quantizer(storage), faiss.METRIC_INNER_PRODUCT)
    searcher.train(vectors)
    searcher.add(vectors)
    return searcher


def _hnsw(vectors: NDArray[np.float32], storage: Storage) -> Any:
    import faiss

    dim = vectors.shape[1]
    if storage == "float32":
        searcher = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    else:
        searcher = faiss.IndexHNSWSQ(dim, _quantizer(storage), 32, faiss.METRIC_INNER_PRODUCT)
        searcher.train(vectors)
    searcher.add(vectors)
    return searcher


def _quantizer(storage: Storage) -> Any:
    import faiss

    quantizers = faiss.ScalarQuantizer
    return quantizers.QT_fp16 if storage == "float16" else quantizers.QT_8bit


def _median_ms(search: Callable[[NDArray[np.float32]], object], queries: Iterable[NDArray[np.float32]]) -> float:
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
