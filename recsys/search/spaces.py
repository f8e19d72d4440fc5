"""Vectors of the items, and the nearest of them to a query's: exactly, or by an approximate index where they are many.

Up to `EXACT_LIMIT` items, or where a filter leaves no more than that, every item is scored. Above, inverted lists over
the principal components name candidates, which are scored in full. A zero row means that an item lacks what the space
compares; it is never found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.vectors.reduction import Reduction, pca
from recsys.index import EXACT_LIMIT, dot_products, open_index, save_index, top_k
from recsys.index_choice import EFFORTS, build_ivf

TARGET_RECALL = 0.95
RECALL_DEPTH = 100


@dataclass(frozen=True, eq=False)
class Hits:
    """What one channel found.

    Args:
        idx: int64 [n], best first.
        score: float32 [n].
    """

    idx: NDArray[np.int64]
    score: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Approximate:
    """Names candidates among many items.

    Args:
        reduction: to what is indexed; None where that is the vectors themselves.
        searcher: a faiss index with inverted lists, metric inner product, its effort set.
    """

    reduction: Reduction | None
    searcher: Any

    def candidates(self, query: NDArray[np.float32], n: int, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Rows near to a query (float32 [dim]) among the allowed (bool [n_items]), rising; about n, or fewer."""
        import faiss

        asked = query if self.reduction is None else self.reduction(query[None])[0]
        bits = np.packbits(allowed, bitorder="little")
        within = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(bits), nprobe=self.searcher.nprobe)
        found = self.searcher.search(np.ascontiguousarray(asked, dtype=np.float32)[None], n, params=within)[1][0]
        rows: NDArray[np.int64] = np.sort(found[found >= 0])
        return rows


@dataclass(frozen=True, eq=False)
class Space:
    """One kind of vectors of all items.

    Args:
        vectors: float32 [n_items, dim]; rows of length 1, or 0.
        approximate: for large catalogs.
    """

    vectors: NDArray[np.float32]
    approximate: Approximate | None = None

    def top(self, query: NDArray[np.float32], n: int, allowed: NDArray[np.bool_]) -> Hits:
        """The nearest allowed items.

        Args:
            query: float32 [dim].
            n: items at most; all of the allowed that have a vector are found where they are fewer.
            allowed: bool [n_items].
        """
        return self.ask(query).top(n, allowed)

    def ask(self, query: NDArray[np.float32]) -> Asked:
        """Look for what is near to a query, float32 [dim]."""
        return Asked(self, query)

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some items, float32 [n, dim]."""
        return np.asarray(self.vectors.take(rows, axis=0), dtype=np.float32)

    def without(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some items have no vector, bool [n]."""
        return ~self._present[rows]

    @cached_property
    def _present(self) -> NDArray[np.bool_]:
        present: NDArray[np.bool_] = np.any(self.vectors, axis=1)
        return present


class Asked:
    """A query in a space; what was computed for its ranking is not computed again for its scores.

    Args:
        space: the space.
        query: float32 [dim].
    """

    def __init__(self, space: Space, query: NDArray[np.float32]) -> None:
        self._space, self._query = space, query
        self._every: NDArray[np.float32] | None = None

    def top(self, n: int, allowed: NDArray[np.bool_]) -> Hits:
        """As `Space.top`."""
        n_allowed = int(np.count_nonzero(allowed))
        vectors, approximate = self._space.vectors, self._space.approximate
        if approximate is not None and n_allowed > EXACT_LIMIT:
            rows = approximate.candidates(self._query, n + n // 2, allowed)
            if len(rows) >= n:
                return self._best(rows, n)
        if 4 * n_allowed < len(vectors):
            return self._best(np.flatnonzero(allowed), n)
        self._every = self._scores(None)
        return Hits(*top_k(self._every, n, ~allowed | np.isnan(self._every)))

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products with some items, float32 [n]; NaN where an item has no vector."""
        return self._scores(rows) if self._every is None else self._every[rows]

    def _best(self, rows: NDArray[np.int64], n: int) -> Hits:
        scores = self._scores(rows)
        place, best = top_k(scores, n, np.isnan(scores))
        return Hits(rows[place], best)

    def _scores(self, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Of some items, or of all; whether there are vectors is only looked up for what scores 0."""
        vectors = self._space.vectors
        scores = dot_products(vectors if rows is None else vectors[rows], self._query)
        nothing = np.flatnonzero(scores == 0)
        if len(nothing):
            items = nothing if rows is None else rows[nothing]
            scores[nothing[self._space.without(items)]] = np.nan
        return scores


def build_approximate(
    vectors: NDArray[np.float32], *, reduced: int, index: Path, reduction: Path, n_queries: int = 64
) -> dict[str, Any] | None:
    """Write an approximate index for a large catalog, with as much effort as the target recall takes.

    Args:
        vectors: float32 [n_items, dim].
        reduced: principal components kept, about the origin so that inner products suffer least; all of fewer.
        index: where the faiss index goes.
        reduction: where the principal components go, if any are dropped.
        n_queries: items whose own neighbors are asked for to measure.

    Returns:
        "dim" of what is indexed, "probes", "recall@100" of the exact neighbors, the share of the length that
        components "explained" or, where these missed the target and were given up, their "reduced_explained" and
        "reduced_recall@100"; None where the catalog is small or has no such vectors.
    """
    present: NDArray[np.bool_] = np.any(vectors, axis=1)
    if len(vectors) <= EXACT_LIMIT or not present.any():
        return None
    every = np.flatnonzero(present)
    asked = every[:: max(1, len(every) // n_queries)][:n_queries]
    truth = [Space(vectors).top(vectors[row], RECALL_DEPTH, present).idx for row in asked]
    report: dict[str, Any] = {}
    for mapped in (pca(vectors, dim=reduced, center=False), None) if vectors.shape[1] > reduced else (None,):
        held = vectors if mapped is None else mapped(vectors)
        searcher = build_ivf(np.ascontiguousarray(held))
        space = Space(vectors, Approximate(mapped, searcher))
        report["dim"] = held.shape[1]
        if mapped is not None:
            report["explained"] = float(mapped.explained[-1])
        for effort in EFFORTS:
            searcher.nprobe = min(effort, searcher.nlist)
            found = [space.top(vectors[row], RECALL_DEPTH, present).idx for row in asked]
            recall = float(np.mean([np.isin(t, f).mean() for f, t in zip(found, truth, strict=True)]))
            report |= {"probes": searcher.nprobe, f"recall@{RECALL_DEPTH}": recall}
            if recall >= TARGET_RECALL:
                break
        if recall >= TARGET_RECALL or mapped is None:
            break
        # too much is lost: the vectors themselves are indexed
        report |= {f"reduced_recall@{RECALL_DEPTH}": recall, "reduced_explained": report.pop("explained")}
    if mapped is not None:
        mapped.save(reduction)
    save_index(searcher, index)
    return report


def open_space(vectors: NDArray[np.float32], index: Path | None, reduction: Path | None) -> Space:
    """A space as it lies in a bundle."""
    if index is None:
        return Space(vectors)
    return Space(vectors, Approximate(None if reduction is None else Reduction.load(reduction), open_index(index)))


Spaces = Mapping[str, Space]
"""By name: "text", "image", "match_text", "match_image"."""
