"""Which rows are nearest: exact, by cosine, Euclidean or Manhattan distance, in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Metric = Literal["cosine", "euclidean", "manhattan"]
Floats = NDArray[np.floating[Any]]

CHUNK_BYTES = 64_000_000
"""Memory for one chunk of scores."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The rows nearest to each query, the nearest first; of equally near ones the lower row first.

    Args:
        idx: int64 [n_queries, k]; -1 where there are no more.
        score: float32 [n_queries, k], the larger the nearer: the cosine, or minus the distance; -inf where `idx` is -1.
    """

    idx: NDArray[np.int64]
    score: NDArray[np.float32]


def nearest(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
    *,
    metric: Metric = "cosine",
    mask: NDArray[np.bool_] | None = None,
) -> Nearest:
    """The k rows of `vectors` nearest to each query.

    Args:
        queries: float32 [n_queries, dim].
        vectors: float32 [n, dim].
        k: rows a query.
        metric: "cosine" (a zero row has no direction: it has no neighbors and is none), "euclidean" or "manhattan".
        mask: bool [n]; rows that are False are never found.

    Raises:
        ValueError: k < 1, the shapes disagree, or there is no such metric.
    """
    return _search(queries, vectors, k, metric, mask, own=False)


def nearest_others(
    vectors: NDArray[np.float32], k: int, *, metric: Metric = "cosine", mask: NDArray[np.bool_] | None = None
) -> Nearest:
    """The k other rows nearest to each row; as `nearest`, but no row is its own neighbor.

    Args:
        vectors: float32 [n, dim].
        k: neighbors a row.
        metric: as in `nearest`.
        mask: bool [n]; rows that are False neither have neighbors nor are one.

    Raises:
        ValueError: k < 1, the shapes disagree, or there is no such metric.
    """
    return _search(vectors, vectors, k, metric, mask, own=True)


def _search(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
    metric: Metric,
    mask: NDArray[np.bool_] | None,
    *,
    own: bool,
) -> Nearest:
    mask = np.ones(len(vectors), dtype=bool) if mask is None else mask
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if vectors.ndim != 2 or queries.ndim != 2 or queries.shape[1] != vectors.shape[1] or mask.shape != (len(vectors),):
        raise ValueError(
            f"queries must be [m, dim], vectors [n, dim], mask [n], got {queries.shape}, {vectors.shape}, {mask.shape}"
        )
    if metric not in _KINDS:
        raise ValueError(f"metric must be one of {', '.join(_KINDS)}, got {metric!r}")
    asked = np.ones(len(queries), dtype=bool) if not own else mask
    if metric == "cosine":
        queries, asked = _unit(queries, asked)
        vectors, mask = (queries, asked) if own else _unit(vectors, mask)
    rows, base = np.flatnonzero(mask), vectors[mask]
    found = Nearest(
        np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, dtype=np.float32)
    )
    width = min(k, len(rows) - own)
    if width < 1:
        return found
    of_chunk = _KINDS[metric](base, width)
    chunk = max(1, CHUNK_BYTES // (8 * len(rows)))
    wanted = np.flatnonzero(asked)
    for start in range(0, len(wanted), chunk):
        part = wanted[start : start + chunk]
        itself = np.arange(start, start + len(part)) if own else None  # with `own`, `wanted` and `rows` are the same
        best, score = of_chunk(queries[part], itself)
        found.idx[part, :width], found.score[part, :width] = rows[best], score
    return found


_OfChunk = Callable[[NDArray[np.float32], NDArray[np.int64] | None], tuple[NDArray[np.int64], Floats]]
"""Queries, and the column each must not find, to the best columns and their scores, [n_queries, width] both."""


def _cosine(base: NDArray[np.float32], width: int) -> _OfChunk:
    def of_chunk(queries: NDArray[np.float32], itself: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], Floats]:
        return _best(_without(queries @ base.T, itself), width)

    return of_chunk


def _manhattan(base: NDArray[np.float32], width: int) -> _OfChunk:
    def of_chunk(queries: NDArray[np.float32], itself: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], Floats]:
        return _best(_without(-cdist(queries, base, "cityblock"), itself), width)

    return of_chunk


def _euclidean(base: NDArray[np.float32], width: int) -> _OfChunk:
    """By 2 q.b - |b|^2, a matrix product in float32; all columns within its rounding error are then compared exactly.

    The error of a product over d terms is at most about d eps |q| |b| (Higham, 2002, section 3.1).
    """
    square = np.einsum("ij,ij->i", base, base)
    longest = float(np.sqrt(square.max(initial=0.0)))
    eps = float(np.finfo(np.float32).eps) * (base.shape[1] + 4)

    def of_chunk(queries: NDArray[np.float32], itself: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], Floats]:
        about = _without(2 * queries @ base.T - square, itself)
        length = np.linalg.norm(queries, axis=1)
        slack = 2 * eps * (2 * length * longest + longest**2)
        threshold = -np.partition(-about, width - 1, axis=1)[:, width - 1] - slack
        best = np.empty((len(queries), width), dtype=np.int64)
        score = np.empty((len(queries), width))
        for row, at_least in enumerate(about >= threshold[:, None]):
            columns = np.flatnonzero(at_least)
            distance = np.linalg.norm(base[columns].astype(np.float64) - queries[row], axis=1)
            order = np.argsort(distance, kind="stable")[:width]
            best[row], score[row] = columns[order], -distance[order]
        return best, score

    return of_chunk


_KINDS: dict[str, Callable[[NDArray[np.float32], int], _OfChunk]] = {
    "cosine": _cosine,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}


def _unit(vectors: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows of length 1, and the mask without those that have no direction."""
    length = np.linalg.norm(vectors, axis=1)
    mask = mask & (length > 0)
    unit = np.zeros(vectors.shape, dtype=np.float32)
    np.divide(vectors, length[:, None], out=unit, where=mask[:, None], casting="same_kind")
    return unit, mask


def _without(scores: Floats, itself: NDArray[np.int64] | None) -> Floats:
    if itself is not None:
        scores[np.arange(len(scores)), itself] = -np.inf
    return scores


def _best(scores: Floats, width: int) -> tuple[NDArray[np.int64], Floats]:
    """The columns of the largest scores of each row, best first, the lower column first among equals."""
    threshold = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]
    best = np.empty((len(scores), width), dtype=np.int64)
    for row, at_least in enumerate(scores >= threshold):
        columns = np.flatnonzero(at_least)
        best[row] = columns[np.argsort(-scores[row, columns], kind="stable")][:width]
    return best, np.take_along_axis(scores, best, axis=1)
