"""Candidates for a ranker, from several sources at once; the same ones when it is trained and when it serves.

    personalized  the largest dot products with the user's vector
    together      what the same users met as the newest items of the history
    content       what looks and reads like them
    fresh         of what nobody has met yet, what is most to the user's taste

An item that several sources find belongs to the first of them, and there to the newest item of the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.index import ItemIndex, dot_products, top_k
from recsys.ranking.askers import Block, Floats, Rows
from recsys.ranking.features import Catalog, Listed
from recsys.recommendation import SOURCES

PERSONALIZED, MET, ALIKE, NEW = (SOURCES.index(name) for name in ("personalized", "together", "content", "fresh"))
TASTE = 100
"""Candidates by the user's vector."""
TOGETHER, CONTENT = 5, 3
"""Candidates an item of the history leads to, by who met both, and by each kind of content."""
FRESH = 10
"""Candidates nobody has met."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Candidates of a block's users, one user's after another's, each user's once each and by rising row.

    Args:
        rows: int64 [n].
        source: int8 [n]; places in `SOURCES`.
        anchor: int64 [n]; row of the item of the history that led to each, -1 where none did.
        start: int64 [users + 1]; those of user i are `start[i]:start[i + 1]`.
    """

    rows: Rows
    source: NDArray[np.int8]
    anchor: Rows
    start: Rows


def gather(
    catalog: Catalog, index: ItemIndex, block: Block, hidden: Sequence[NDArray[np.bool_]], *, taste: int = TASTE
) -> Gathered:
    """Candidates for the users of a block.

    Args:
        catalog: what is known of the items.
        index: of their vectors.
        block: the users; each has a vector.
        hidden: bool [n_items] a user; not to be found.
        taste: candidates by the user's vector.
    """
    vectors = [asker.vector for asker in block.askers if asker.vector is not None]
    unheard = [_with(of, catalog.voiceless) for of in hidden] if len(catalog.voiceless) else hidden
    by_taste = [rows for rows, _ in index.search_all(np.stack(vectors), taste, unheard)]
    parts = [_by_user(PERSONALIZED, by_taste), _led(MET, catalog.together(block.led)[0][:, :TOGETHER], block)]
    parts += [_led(ALIKE, alike, block) for alike in catalog.alike(block.led, CONTENT)]
    if len(catalog.newcomers):
        parts.append(_by_user(NEW, [_fresh(catalog, *of) for of in zip(vectors, hidden, strict=True)]))
    rows, whose, anchor = (np.concatenate([part[column] for part in parts]) for column in (1, 2, 3))
    source = np.repeat(np.array([part.source for part in parts], dtype=np.int8), [len(part.rows) for part in parts])
    known = np.flatnonzero(rows >= 0)
    first = known[_first_of_each(whose.take(known) * len(catalog.item_vectors) + rows.take(known))]
    rows, whose = rows.take(first), whose.take(first)
    start, shown = whose.searchsorted(np.arange(len(vectors) + 1)), np.empty(len(rows), dtype=np.bool_)
    for of, begin, end in zip(hidden, start[:-1].tolist(), start[1:].tolist(), strict=True):
        np.logical_not(of.take(rows[begin:end]), out=shown[begin:end])
    kept = np.flatnonzero(shown)
    first = first.take(kept)
    return Gathered(rows.take(kept), source.take(first), anchor.take(first), kept.searchsorted(start))


class _Part(NamedTuple):
    """What one source found, of all users; arrays int64 [n], with -1 where there is no row."""

    source: int
    rows: Rows
    whose: Rows
    anchor: Rows


def _by_user(source: int, found: Sequence[Rows]) -> _Part:
    rows = np.concatenate(found)
    whose = np.repeat(np.arange(len(found)), [len(of) for of in found])
    return _Part(source, rows, whose, np.full(len(rows), -1))


def _led(source: int, lists: Listed, block: Block) -> _Part:
    """What a list for each item of the histories names, int [n, width]."""
    width = lists.shape[1]
    return _Part(source, lists.ravel().astype(np.int64, copy=False), block.whose.repeat(width), block.led.repeat(width))


def _fresh(catalog: Catalog, vector: Floats, hidden: NDArray[np.bool_]) -> Rows:
    scores = dot_products(catalog.item_vectors[catalog.newcomers], vector)
    return catalog.newcomers[top_k(scores, FRESH, hidden[catalog.newcomers])[0]]


def _with(hidden: NDArray[np.bool_], more: Rows) -> NDArray[np.bool_]:
    hidden = hidden.copy()
    hidden[more] = True
    return hidden


def _first_of_each(numbers: Rows) -> Rows:
    """Where each different number stands first, by rising number: int64.

    Numbers and places are sorted as one, which takes a tenth of the time of sorting places by their numbers.
    """
    bits = len(numbers).bit_length()
    keys = (numbers << bits) | np.arange(len(numbers))
    keys.sort()
    numbers = keys >> bits
    new = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=new[1:])
    places: Rows = keys[new] & ((1 << bits) - 1)
    return places
