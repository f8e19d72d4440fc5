"""A search index with what has changed since it was built: changed and new items are held beside it.

Of a changed item the index forgets what it knew; what is true of it now stands in the small part, which is scored in
full. The weights of its words are those it would have if the catalog's statistics had stayed the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.search.bm25 import LexicalIndex
from recsys.search.build import fields_of, texts_of
from recsys.search.filters import Filters
from recsys.search.spaces import Asked, Hits, Space
from recsys.search.stored import StoredSearch

Floats = NDArray[np.float32]
Display = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class AmendedSpace(Space):
    """A space in which some items have other vectors, or are new.

    Args:
        base: the space as it was.
        n_items: rows now.
        rows: int64 [n], rising; the changed and the new.
        held: float32 [n, dim]; their vectors.
    """

    base: Space | None = None
    n_items: int = 0
    rows: NDArray[np.int64] | None = None
    held: Floats | None = None

    @classmethod
    def over(cls, base: Space, vectors: Mapping[int, Floats], n_items: int) -> AmendedSpace:
        """The space with these vectors, by row, in place of what it has."""
        rows = np.array(sorted(vectors), dtype=np.int64)
        held = np.stack([vectors[row] for row in rows.tolist()]) if len(rows) else base.vectors[:0]
        return cls(base.vectors, base.approximate, base, n_items, rows, np.asarray(held, dtype=np.float32))

    def ask(self, query: Floats) -> Asked:
        """As `Space.ask`."""
        return _AmendedAsked(self, query)

    def of(self, rows: NDArray[np.int64]) -> Floats:
        """As `Space.of`; 0 for a new item without a vector here."""
        assert self.rows is not None and self.held is not None  # noqa: S101, PT018 - made by `over`
        found = np.zeros((len(rows), self.vectors.shape[1]), dtype=np.float32)
        old = rows < len(self.vectors)
        found[old] = self.vectors[rows[old]]
        place, here = _places(self.rows, rows)
        found[here] = self.held[place[here]]
        return found


class _AmendedAsked(Asked):
    """A query in such a space."""

    def __init__(self, space: AmendedSpace, query: Floats) -> None:
        assert space.base is not None and space.rows is not None and space.held is not None  # noqa: S101, PT018
        self._inner = space.base.ask(query)
        self._rows, self._n_old = space.rows, len(space.base.vectors)
        score = np.einsum("nd,d->n", space.held, query)
        score[~np.any(space.held, axis=1)] = np.nan
        self._score: Floats = score.astype(np.float32)

    def top(self, n: int, allowed: NDArray[np.bool_]) -> Hits:
        """As `Asked.top`."""
        old = allowed[: self._n_old].copy()
        old[self._rows[self._rows < self._n_old]] = False
        found = self._inner.top(n, old)
        kept = allowed[self._rows] & ~np.isnan(self._score)
        rows = np.concatenate([found.idx, self._rows[kept]])
        score = np.concatenate([found.score, self._score[kept]])
        order = np.lexsort((rows, -score))[:n]
        return Hits(rows[order], score[order])

    def at(self, rows: NDArray[np.int64]) -> Floats:
        """As `Asked.at`."""
        score = np.full(len(rows), np.nan, dtype=np.float32)
        place, here = _places(self._rows, rows)
        score[here] = self._score[place[here]]
        old = ~here & (rows < self._n_old)
        score[old] = self._inner.at(rows[old])
        return score


@dataclass(frozen=True, eq=False)
class AmendedLexical(LexicalIndex):
    """Terms of a catalog in which some items have other words, or are new.

    Args:
        base: the index as it was.
        stale: bool [n_items of the base]; items whose postings there do not count.
        held: term -> rows, rising, and the term's weight in each.
    """

    base: LexicalIndex | None = None
    stale: NDArray[np.bool_] | None = None
    held: Mapping[str, tuple[NDArray[np.int64], Floats]] | None = None

    @classmethod
    def over(cls, base: LexicalIndex, weights: Mapping[int, Mapping[str, float]], n_items: int) -> AmendedLexical:
        """The index with these items' words, as row -> term -> weight, in place of what it has."""
        stale = np.zeros(base.n_items, dtype=np.bool_)
        by_term: dict[str, list[tuple[int, float]]] = {}
        for row in sorted(weights):
            if row < base.n_items:
                stale[row] = True
            for term, weight in weights[row].items():
                by_term.setdefault(term, []).append((row, weight))
        held = {
            term: (np.array([row for row, _ in of], dtype=np.int64), np.array([w for _, w in of], dtype=np.float32))
            for term, of in by_term.items()
        }
        return cls(base.terms, base.indptr, base.items, base.weights, n_items, base.mean_lengths, base, stale, held)

    def postings(self, term: str) -> tuple[NDArray[Any], Floats]:
        """As `LexicalIndex.postings`."""
        assert self.base is not None and self.stale is not None and self.held is not None  # noqa: S101, PT018
        items, weights = self.base.postings(term)
        kept = ~self.stale[items]
        items, weights = items[kept], weights[kept]
        if term not in self.held:
            return items, weights
        more, of_more = self.held[term]
        every = np.concatenate([items.astype(np.int64), more])
        order = np.argsort(every, kind="stable")
        return every[order], np.concatenate([weights, of_more])[order]


def amended_search(
    base: StoredSearch,
    *,
    before: Mapping[int, Display],
    now: Mapping[int, Display | None],
    vectors: Mapping[int, Mapping[str, Floats]],
    available: NDArray[np.bool_],
    gone: NDArray[np.int64],
) -> StoredSearch:
    """A search index with some items changed, new or removed.

    Args:
        base: the index of the bundle.
        before: row -> what the bundle shows of each changed item that it has.
        now: row -> what is shown of each changed or new item; None for a removed one.
        vectors: row -> space -> vector, of those whose words or picture are new to the index.
        available: bool [n_items] now.
        gone: int64; rows of the removed items.
    """
    n_items = len(available)
    config = base.config
    weights = {
        row: {} if shown is None else base.lexical.weigh(texts_of(shown), fields_of(config), k1=config.k1)
        for row, shown in now.items()
    }
    nothing = {name: np.zeros(space.vectors.shape[1], dtype=np.float32) for name, space in base.spaces.items()}
    return replace(
        base,
        lexical=AmendedLexical.over(base.lexical, weights, n_items),
        spaces={
            name: AmendedSpace.over(
                space,
                {row: of[name] for row, of in vectors.items() if name in of}
                | {row: nothing[name] for row, shown in now.items() if shown is None},
                n_items,
            )
            for name, space in base.spaces.items()
        },
        filters=Filters.amended(base.filters, before=before, now=now, available=available, gone=gone),
    )


def _places(rows: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each asked row stands among rising rows, and whether it is there at all."""
    if not len(rows):
        return np.zeros(len(asked), dtype=np.int64), np.zeros(len(asked), dtype=np.bool_)
    place = np.minimum(np.searchsorted(rows, asked), len(rows) - 1)
    return place, rows[place] == asked
