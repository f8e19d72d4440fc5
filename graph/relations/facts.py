"""Attribute values as nodes: who has which, how telling a value is, and paths as trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.paths import PATH_SEPARATOR
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList


@dataclass(frozen=True, eq=False)
class Facts:
    """One attribute as a part of the graph.

    Args:
        names: the values that are nodes.
        has: edges from owners to values.
        under: edges from each step of a path to the one above it; None where the attribute is no tree.
    """

    names: Vocabulary
    has: EdgeList
    under: EdgeList | None = None


def attribute_edges(
    rows: NDArray[np.int64],
    values: NDArray[np.object_],
    *,
    n_owners: int,
    min_shared: int,
    idf: bool,
    trees: bool,
) -> Facts | None:
    """The shared values of one attribute and who has them; None where no value is shared.

    Args:
        rows: int64 [n]; the owners' rows.
        values: object [n] of str; paths stand there with all their prefixes ("A", "A > B").
        n_owners: items (or users) of the shop, with or without the attribute.
        min_shared: a value becomes a node where at least so many owners have it.
        idf: weigh a value by log(1 + n_owners / n_having), scaled to a mean of 1 over the edges (inverse document
            frequency, Sparck Jones 1972): a rare value says more. Otherwise each edge weighs 1.
        trees: an owner is joined to the last step of its path alone, and each step to the step above it.
    """
    names, codes = np.unique(values.astype(str), return_inverse=True)
    pairs = np.unique(np.stack([rows, codes.astype(np.int64)]), axis=1)
    kept = np.flatnonzero((np.bincount(pairs[1], minlength=len(names)) >= min_shared) & (names != ""))
    if len(kept) == 0:
        return None
    new_row = np.full(len(names), -1, dtype=np.int64)
    new_row[kept] = np.arange(len(kept))
    vocabulary = Vocabulary(tuple(names[kept].tolist()))
    src, dst = pairs[0], new_row[pairs[1]]
    src, dst = src[dst >= 0], dst[dst >= 0]
    telling = np.log1p(n_owners / np.bincount(dst, minlength=len(kept))) if idf else np.ones(len(kept))
    above = _parents(vocabulary) if trees else np.full(len(kept), -1, dtype=np.int64)
    if (above >= 0).any():
        owned = src * len(kept) + dst
        passed = np.isin(owned, (src * len(kept) + above[dst])[above[dst] >= 0])  # a deeper step of the path is there
        src, dst = src[~passed], dst[~passed]
    weight = telling[dst] / telling[dst].mean()
    has = EdgeList(src, dst, weight.astype(np.float32))
    lower = np.flatnonzero(above >= 0)
    under = EdgeList(lower, above[lower], np.ones(len(lower), dtype=np.float32)) if len(lower) else None
    return Facts(vocabulary, has, under)


def _parents(values: Vocabulary) -> NDArray[np.int64]:
    """Row of the step above each value, -1 for none; a step that is no node itself is passed over."""

    def parent(value: str) -> int:
        step = value
        while PATH_SEPARATOR in step:
            step = step.rpartition(PATH_SEPARATOR)[0]
            if step in values:
                return values.idx(step)
        return -1

    return np.array([parent(value) for value in values], dtype=np.int64)
