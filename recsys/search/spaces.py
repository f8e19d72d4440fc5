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
from recsys.index import EXACT_LIMIT, dot_products, save_index, top_k
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
        n_allowed = int(np.count_nonzero(allowed))
        if self.approximate is not None and n_allowed > EXACT_LIMIT:
            rows = self.approximate.candidates(query, n + n // 2, allowed)
            if len(rows) >= n:
                return self._best(rows, query, n)
        if 4 * n_allowed < len(self.vectors):
            return self._best(np.flatnonzero(allowed), query, n)
        scores = dot_products(self.vectors, query)
        return Hits(*top_k(scores, n, ~allowed | self._missing(scores)))

    def at(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products with some rows, float32 [n]; NaN where an item has no vector."""
        scores = dot_products(self.vectors[rows], query)
        scores[self._missing(scores, rows)] = np.nan
        return scores

    def _best(self, rows: NDArray[np.int64], query: NDArray[np.float32], n: int) -> Hits:
        scores = self.at(query, rows)
        place, best = top_k(scores, n, np.isnan(scores))
        return Hits(rows[place], best)

    def _missing(self, scores: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Which of the scored items have no vector; the vectors are looked through only once such a score is met."""
        nothing = scores == 0
        if nothing.any():
            nothing &= ~(self._present if rows is None else self._present[rows])
        missing: NDArray[np.bool_] = nothing
        return missing

    @cached_property
    def _present(self) -> NDArray[np.bool_]:
        present: NDArray[np.bool_] = np.any(self.vectors, axis=1)
        return present


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
        "dim", "probes", "recall@100" of the exact neighbors and, with components dropped, the "explained" share and
        "reduced_recall@100", of an exhaustive search among the reduced; None where the catalog is small or has no such
        vectors.
    """
    present: NDArray[np.bool_] = np.any(vectors, axis=1)
    if len(vectors) <= EXACT_LIMIT or not present.any():
        return None
    mapped = pca(vectors, dim=reduced, center=False) if vectors.shape[1] > reduced else None
    held = vectors if mapped is None else mapped(vectors)
    searcher = build_ivf(np.ascontiguousarray(held))
    space = Space(vectors, Approximate(mapped, searcher))
    every = np.flatnonzero(present)
    asked = every[:: max(1, len(every) // n_queries)][:n_queries]
    truth = [Space(vectors).top(vectors[row], RECALL_DEPTH, present).idx for row in asked]
    report: dict[str, Any] = {"dim": held.shape[1]}
    if mapped is not None:
        mapped.save(reduction)
        found = [Space(held).top(held[row], RECALL_DEPTH, present).idx for row in asked]
        report |= {"explained": float(mapped.explained[-1]), f"reduced_recall@{RECALL_DEPTH}": _recall(found, truth)}
    for effort in EFFORTS:
        searcher.nprobe = min(effort, searcher.nlist)
        found = [space.top(vectors[row], RECALL_DEPTH, present).idx for row in asked]
        report |= {"probes": searcher.nprobe, f"recall@{RECALL_DEPTH}": _recall(found, truth)}
        if report[f"recall@{RECALL_DEPTH}"] >= TARGET_RECALL:
            break
    save_index(searcher, index)
    return report


def open_space(vectors: NDArray[np.float32], index: Path | None, reduction: Path | None) -> Space:
    """A space as it lies in a bundle."""
    if index is None:
        return Space(vectors)
    import faiss

    return Space(
        vectors, Approximate(None if reduction is None else Reduction.load(reduction), faiss.read_index(str(index)))
    )


def _recall(found: list[NDArray[np.int64]], truth: list[NDArray[np.int64]]) -> float:
    return float(np.mean([np.isin(t, f).mean() for f, t in zip(found, truth, strict=True)]))


Spaces = Mapping[str, Space]
"""By name: "text", "image", "match_text", "match_image"."""
