"""BM25 over the fields of an item, with all its arithmetic done when the index is built.

A term t weighs in item d, over the fields f with boosts w_f (BM25F: Robertson and Zaragoza, 2009, section 3.6),

    idf(t) tf / (k1 + tf),   tf = sum_f w_f tf_f(t, d) / (1 - b_f + b_f |d_f| / mean |d_f|),
    idf(t) = ln(1 + (N - df(t) + 1/2) / (df(t) + 1/2)).

None of it depends on the query, so each posting holds its final weight and a query is a sum over its terms' postings
(eager scoring: Lu, 2024). Cost of a query: its postings.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.search.terms import Term, terms


@dataclass(frozen=True)
class Field:
    """How much a field of an item counts.

    Args:
        boost: weight of its words.
        length_penalty: b, in [0, 1].
    """

    boost: float
    length_penalty: float


@dataclass(frozen=True, eq=False)
class LexicalIndex:
    """Terms and the items that hold them.

    Args:
        terms: all terms, sorted.
        indptr: int64 [n_terms + 1]; term i's postings are [indptr[i], indptr[i + 1]).
        items: int32 [n_postings]; rows, rising within a term.
        weights: float32 [n_postings]; what each posting adds to its item's score.
        n_items: size of the catalog.
        mean_lengths: mean number of terms in each field, by which items that join later are weighed; None where an
            older index does not say.
    """

    terms: Vocabulary
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    n_items: int
    mean_lengths: Sequence[float] | None = None

    def score(self, counts: dict[str, float]) -> NDArray[np.float32]:
        """Scores of all items, float32 [n_items]; 0 where none of the terms is found.

        Args:
            counts: how often each term is asked for; below 0 for what is not wanted.
        """
        scores = np.zeros(self.n_items, dtype=np.float32)
        for term, count in counts.items():
            held, weights = self.postings(term)
            scores[held] += np.float32(count) * weights  # an item is at most once in a term's postings
        return scores

    def most(self, counts: dict[str, float]) -> float:
        """What an item would score that held every wanted term without end: sum of count idf(t); 0 for no term."""
        held_by = {term: len(self.postings(term)[0]) for term, count in counts.items() if count > 0}
        return sum(counts[term] * float(_idf(np.float64(n), self.n_items)) for term, n in held_by.items())

    def postings(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The items that hold a term, rows rising, and its weight in each."""
        row = self.terms.find(term)
        if row < 0:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        span = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        return self.items[span], self.weights[span]

    def holds(self, found: Iterable[Term], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each item holds each term, bool [n_terms, n_rows]."""
        held = []
        for term in found:
            items = self.postings(term.text)[0]
            place = np.minimum(np.searchsorted(items, rows), max(len(items) - 1, 0))
            held.append(items[place] == rows if len(items) else np.zeros(len(rows), dtype=np.bool_))
        return np.stack(held) if held else np.zeros((0, len(rows)), dtype=np.bool_)

    def weigh(self, texts: Sequence[str], fields: Sequence[Field], *, k1: float) -> dict[str, float]:
        """What the terms of one more item would weigh, by this catalog's statistics.

        Args:
            texts: of its fields.
            fields: how much each counts, as the index was built.
            k1: likewise.
        """
        tf: dict[str, float] = {}
        for place, (text, counts) in enumerate(zip(texts, fields, strict=True)):
            held = [term.text for term in terms(text)]
            mean = len(held) if self.mean_lengths is None else self.mean_lengths[place]
            relative = 1 - counts.length_penalty + counts.length_penalty * len(held) / max(mean, 1e-9)
            for term in held:
                tf[term] = tf.get(term, 0.0) + counts.boost / relative
        return {
            term: float(_idf(np.float64(len(self.postings(term)[0])), self.n_items)) * mentions / (k1 + mentions)
            for term, mentions in tf.items()
            if mentions > 0
        }


@dataclass
class _Counted:
    """Occurrences of terms in one field, item by item."""

    term: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))


def build_lexical(items: Iterable[Sequence[str]], fields: Sequence[Field], *, k1: float) -> LexicalIndex:
    """Index a catalog.

    Args:
        items: of each item the text of each field, in the order of `fields`.
        fields: how much each counts.
        k1: how soon further mentions of a term stop counting.

    Raises:
        ValueError: an item has another number of fields.
    """
    numbers: dict[str, int] = {}
    counted = [_Counted() for _ in fields]
    n_items = 0
    for row, texts in enumerate(items):
        for of_field, text in zip(counted, texts, strict=True):
            held = [numbers.setdefault(term.text, len(numbers)) for term in terms(text)]
            of_field.term.extend(held)
            of_field.item.extend([row] * len(held))
            of_field.lengths.append(len(held))
        n_items = row + 1
    places, mentions = _mentions(counted, fields, n_items)
    term, item = places // max(n_items, 1), places % max(n_items, 1)
    order = np.argsort(np.array(list(numbers), dtype=object), kind="stable") if numbers else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[order] = np.arange(len(numbers))
    by_name = np.argsort(rank[term], kind="stable")  # within a term the items stay rising
    term, item, mentions = rank[term][by_name], item[by_name], mentions[by_name]
    held_by = np.bincount(term, minlength=len(numbers))
    idf = _idf(held_by, n_items)
    return LexicalIndex(
        terms=Vocabulary(tuple(sorted(numbers))),
        indptr=np.concatenate([[0], np.cumsum(held_by)]).astype(np.int64),
        items=item.astype(np.int32),
        weights=(idf[term] * mentions / (k1 + mentions)).astype(np.float32),
        n_items=n_items,
        mean_lengths=[_mean_length(of_field) for of_field in counted],
    )


def _mean_length(counted: _Counted) -> float:
    lengths = np.array(counted.lengths, dtype=np.float64)
    return float(lengths.mean()) if lengths.any() else 1.0


def _idf(held_by: NDArray[Any] | np.float64, n_items: int) -> NDArray[np.float64]:
    return np.asarray(np.log1p((n_items - held_by + 0.5) / (held_by + 0.5)), dtype=np.float64)


def _mentions(
    counted: Sequence[_Counted], fields: Sequence[Field], n_items: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each (term, item) that occurs, as term * n_items + item, rising; and its tf over the fields."""
    places, amounts = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for of_field, counts in zip(counted, fields, strict=True):
        place, times = np.unique(
            np.array(of_field.term, dtype=np.int64) * n_items + np.array(of_field.item, dtype=np.int64),
            return_counts=True,
        )
        lengths = np.array(of_field.lengths, dtype=np.float64)
        relative = 1 - counts.length_penalty + counts.length_penalty * lengths / _mean_length(of_field)
        places.append(place)
        amounts.append(counts.boost * times / relative[place % n_items] if n_items else np.zeros(0))
    every, which = np.unique(np.concatenate(places), return_inverse=True)
    mentions = np.zeros(len(every))
    np.add.at(mentions, which, np.concatenate(amounts))
    kept = mentions > 0  # a field whose boost is 0 is not searched
    return every[kept], mentions[kept]
