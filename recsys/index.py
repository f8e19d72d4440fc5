"""Largest dot products among the item embeddings: exactly, or approximately where the catalog is large.

Up to `EXACT_LIMIT` items one float32 matrix-vector product is fast and cannot miss. Above, a faiss index may name the
candidates (`index_choice.py` measures whether it should); their scores are then recomputed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

EXACT_LIMIT = 50_000
"""Items up to which the exact search is used."""


Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows and dot products, best first."""


class ItemIndex(Protocol):
    """Finds the items of largest dot product with a vector."""

    def search(
        self, query: NDArray[np.float32], k: int, hidden: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """At most k items outside `hidden` (bool [n_items]), best first, with their dot products.

        Args:
            query: float32 [dim].
            k: how many; fewer come back where fewer are left.
            hidden: bool [n_items]; never returned.

        Returns:
            int64 [<= k] and float32 [<= k]; ties are broken by row number.
        """
        ...

    def search_all(
        self, queries: NDArray[np.float32], k: int, hidden: Sequence[NDArray[np.bool_]]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `search`, of some queries, float32 [n, dim], each with what is hidden from it."""
        ...

    def over(self, vectors: NDArray[np.float32]) -> ItemIndex:
        """The same index of more vectors, float32 [more, dim], of which the first are those it has."""
        ...


def top_k(
    scores: NDArray[np.float32], k: int, hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k largest of `scores` outside `hidden`, best first, ties by row number; all are float32 or bool [n]."""
    scores = np.where(hidden, -np.inf, scores)
    k = min(k, int(len(scores) - np.count_nonzero(hidden)))
    if k <= 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= threshold)
    best = rows[np.argsort(-scores[rows], kind="stable")][:k]
    return best.astype(np.int64), scores[best]


def dot_products(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dot product of each row with a vector, float32 [n], on the calling thread alone.

    Requests already run side by side, and a BLAS that wakes its own threads for each of them waits for a free core
    longer than the product takes (measured on a busy 2-core machine at 20,000 x 64: 27 ms, against 0.2 ms this way).
    """
    products: NDArray[np.float32] = np.einsum("nd,d->n", vectors, query)
    return products


class ExactIndex:
    """Every item is scored.

    Args:
        vectors: float32 [n_items, dim].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def search(
        self, query: NDArray[np.float32], k: int, hidden: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `ItemIndex.search`; exact."""
        return top_k(dot_products(self.vectors, query), k, hidden)

    def search_all(
        self, queries: NDArray[np.float32], k: int, hidden: Sequence[NDArray[np.bool_]]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `ItemIndex.search_all`."""
        return [self.search(query, k, of) for query, of in zip(queries, hidden, strict=True)]

    def over(self, vectors: NDArray[np.float32]) -> ExactIndex:
        """As `ItemIndex.over`."""
        return ExactIndex(vectors)


class ApproximateIndex:
    """A faiss index names candidates, which are then scored exactly.

    Where the candidates do not leave k items outside `hidden`, every item is scored instead, so that an answer is
    never shorter than the exact one.

    Args:
        vectors: float32 [n_items, dim].
        searcher: a faiss index of these vectors, or of the first of them, with metric inner product; those that it does
            not have are always scored.
    """

    def __init__(self, vectors: NDArray[np.float32], searcher: Any) -> None:
        self.vectors = vectors
        self.searcher = searcher
        self._behind = np.arange(searcher.ntotal, len(vectors))
        self._scans = type(searcher).__name__.startswith("IndexIVF")
        """It reads the same lists however many are asked for, and more only take longer to sort; the graph of an HNSW
        index is searched the farther the more are asked for."""
        self._whole = type(searcher).__name__ in ("IndexIVFFlat", "IndexHNSWFlat")  # its dot products are exact
        self.asked: NDArray[np.float32] | None = None
        """The latest query, for whoever wants to know what is missed."""

    def search(
        self, query: NDArray[np.float32], k: int, hidden: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `ItemIndex.search`; may miss items, at the rate measured when the index was chosen."""
        return self.search_all(query[None], k, [hidden])[0]

    def search_all(
        self, queries: NDArray[np.float32], k: int, hidden: Sequence[NDArray[np.bool_]]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `ItemIndex.search_all`."""
        self.asked = queries[-1]
        few, many = (min(len(self.vectors), n) for n in (k + k // 4 + 16, 2 * k + 64))
        found = self._named(queries, k, hidden, few if self._scans else many)
        short = [place for place, one in enumerate(found) if one is None]
        if short and self._scans:
            again = self._named(queries[short], k, [hidden[place] for place in short], many)
            found = [again.pop(0) if one is None else one for one in found]
        exact = ExactIndex(self.vectors)
        return [
            exact.search(query, k, of) if one is None else one
            for query, of, one in zip(queries, hidden, found, strict=True)
        ]

    def _named(
        self, queries: NDArray[np.float32], k: int, hidden: Sequence[NDArray[np.bool_]], wanted: int
    ) -> list[Found | None]:
        """The k best of `wanted` that the index names for each query; None where these do not leave so many."""
        near, rows = self.searcher.search(np.ascontiguousarray(queries, dtype=np.float32), wanted)
        falling = (near[:, 1:] < near[:, :-1]).all(axis=1).tolist()
        return [
            self._best(query, named, its_hidden, k)
            for query, named, its_hidden in zip(queries, zip(rows, near, falling, strict=True), hidden, strict=True)
        ]

    def _best(
        self, query: NDArray[np.float32], named: tuple[*Found, bool], hidden: NDArray[np.bool_], k: int
    ) -> Found | None:
        rows, near, falling = named
        shown = np.logical_not(hidden.take(rows, mode="clip"))
        if rows[-1] < 0:  # fewer were found
            shown &= rows >= 0
        places = shown.nonzero()[0]
        behind = self._behind[~hidden[self._behind]] if len(self._behind) else self._behind
        if len(places) + len(behind) < k:
            return None
        if self._whole and falling and not len(behind):  # as they come, the best first
            places = places[:k]
            return rows.take(places), near.take(places)
        found = np.concatenate([rows.take(places), behind])
        if not self._whole:
            scores = dot_products(self.vectors[found], query)
        else:
            scores = np.concatenate([near.take(places), dot_products(self.vectors[behind], query)])
        best = np.lexsort((found, -scores))[:k]
        return found[best], scores[best]

    def missed(self, query: NDArray[np.float32], k: int) -> int:
        """How many of the k best items of a query, float32 [dim], this index does not find."""
        nothing = np.zeros(len(self.vectors), dtype=np.bool_)
        best, found = ExactIndex(self.vectors).search(query, k, nothing)[0], self.search(query, k, nothing)[0]
        return int(np.count_nonzero(~np.isin(best, found)))

    def over(self, vectors: NDArray[np.float32]) -> ApproximateIndex:
        """As `ItemIndex.over`."""
        return ApproximateIndex(vectors, self.searcher)


def save_index(searcher: Any, path: Path) -> None:
    """Write a faiss index with its effort."""
    import faiss

    faiss.write_index(searcher, str(path))


def open_index(path: Path) -> Any:
    """A faiss index whose numbers stay in the mapped file: opened in a millisecond, and shared by all processes.

    Reading holds Python's lock, for some 30 ms where 100,000 items are indexed. Nothing can be added to it.
    """
    import faiss

    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def load_index(path: Path, vectors: NDArray[np.float32]) -> ApproximateIndex:
    """Open a faiss index of these vectors.

    Raises:
        ValueError: it was built from another number of items or another dimension.
    """
    searcher = open_index(path)
    if (searcher.ntotal, searcher.d) != vectors.shape:
        raise ValueError(
            f"{path}: must index vectors of shape {vectors.shape}, it has ({searcher.ntotal}, {searcher.d})"
        )
    return ApproximateIndex(vectors, searcher)
