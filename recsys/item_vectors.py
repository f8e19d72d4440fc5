"""Vectors of a shop's items for use elsewhere: of words, pictures or both, reduced where that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.vectors.learned import learn_reduction, neighbor_recall
from features.vectors.nearest import Metric, nearest
from features.vectors.reduction import Reduction, pca, whitening
from features.vocabulary import Vocabulary

Kind = Literal["pca", "learned", "pca-whitening", "zca-whitening"]
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Shares of the variance for which it is told how many principal components hold them."""
ASKED, NEIGHBORS = 500, 10
"""So many rows are asked how many of so many nearest rows they keep."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """Vectors of fewer dimensions, and what that cost.

    Args:
        vectors: float32 [n_items, dim]; zero rows stay zero.
        kind: of the map that was used: "pca" where none that was learned kept more neighbors.
        explained: share of the variance that the first `dim` principal components hold.
        components: share of the variance → components that hold it.
        kept: share of the 10 rows nearest by cosine that are so afterwards, mean over at most 500 rows.
    """

    vectors: NDArray[np.float32]
    kind: str
    explained: float
    components: dict[float, int]
    kept: float


def reduce_vectors(
    vectors: NDArray[np.float32], kind: Kind, *, dim: int | None, share: float | None, seed: int
) -> Reduced:
    """Bring the vectors to fewer dimensions, or make all their directions vary alike.

    Args:
        vectors: float32 [n_items, d]; zero rows, of items that have none, do not take part.
        kind: see `features.vectors.reduction` and `features.vectors.learned`.
        dim: dimensions to keep; or
        share: as many as hold this share of the variance. Neither: all, which a map that is learned does not have.
        seed: of what is learned, and of which rows are asked.

    Raises:
        InputError: the dimensions cannot be kept, or there are too few rows.
    """
    present = vectors[vectors.any(axis=1)]
    most = vectors.shape[1]
    if dim is not None and share is not None:
        raise InputError(f"give --dim or --share, not both, got {dim} and {share}")
    if dim is not None and not 1 <= dim <= most:
        raise InputError(f"--dim must be in [1, {most}], as the vectors have {most} dimensions, got {dim}")
    if kind == "zca-whitening" and (dim is not None or share is not None):
        raise InputError("zca-whitening keeps all dimensions: leave --dim and --share out, or take pca-whitening")
    if kind == "learned" and dim is None and share is None:
        raise InputError("--reduce learned needs --dim or --share")
    if len(present) < 20:
        raise InputError(f"a reduction is made of at least 20 items that have such vectors, got {len(present)}")
    whole = pca(present, dim=most)
    if share is not None:
        dim = _holding(whole, share)
    found = _map(present, kind, dim, seed)
    rows = np.random.default_rng(seed).permutation(len(present))[:ASKED]
    return Reduced(
        vectors=found(vectors),
        kind=found.kind,
        explained=float(whole.explained[found.d_out - 1]),
        components={held: _holding(whole, held) for held in SHARES},
        kept=neighbor_recall(present, found(present), k=NEIGHBORS, rows=rows),
    )


def row_of(items: Vocabulary, item_id: str) -> int:
    """The row of an item that was named.

    Raises:
        InputError: there is no such item.
    """
    if item_id not in items:
        raise InputError(f"--near must name an item of the shop, such as {items[0]!r}, got {item_id!r}")
    return items.idx(item_id)


def near(vectors: NDArray[np.float32], row: int, *, metric: Metric, k: int) -> list[tuple[int, float]]:
    """The items nearest to one, exactly: rows with their cosine or minus their distance, the nearest first.

    Raises:
        InputError: the item has no vector.
    """
    has = np.asarray(vectors.any(axis=1))
    if not has[row]:
        raise InputError("the item of --near has no such vector: it lacks words or a picture; see --of")
    has[row] = False
    found = nearest(vectors[row : row + 1], vectors, min(k, len(vectors)), metric=metric, mask=has)
    pairs = zip(found.idx[0].tolist(), found.score[0].tolist(), strict=True)
    return [(other, score) for other, score in pairs if other >= 0]


def _map(present: NDArray[np.float32], kind: Kind, dim: int | None, seed: int) -> Reduction:
    if kind == "learned" and dim is not None:
        return learn_reduction(present, dim, seed=seed).reduction
    if kind == "pca-whitening":
        return whitening(present, dim=dim)
    if kind == "zca-whitening":
        return whitening(present, kind="zca")
    return pca(present, dim=present.shape[1] if dim is None else dim)


def _holding(whole: Reduction, share: float) -> int:
    """The fewest principal components that hold a share of the variance."""
    return min(int(np.searchsorted(whole.explained, share - 1e-12)) + 1, whole.d_out)
