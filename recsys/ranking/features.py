"""What a ranker goes by: numbers about a user and a candidate, the same when it is trained and when it serves.

    taste        dot product of the user's vector with the item's
    prior        what is added to it for everyone
    together     sum over the history of users who met both / sqrt(met one x met the other), newest counts most
    together_max the most of it by one item of the history
    behavior     largest cosine of the places training gave the candidate and an item of the history
    text, image  largest cosine of the words, or pictures, of the candidate and an item of the history
    text_mean    mean cosine of the words to the history
    popularity   log(1 + users) / log(1 + most users)
    price        |log(price / geometric mean price of the history)|
    match        agreement of its picture and its words
    history      log(1 + items of the history)
    freshness    -log(1 + age in days): a weight w lets the odds fade as (1 + age)^-w, so that how fast is learned
    dated        1 where the age is known, else 0
    ctr          log of the clicks an item got over those an average item would have got in its slots, shrunk; in the
                 scenario of the request where it is counted by itself
    ctr_known    how much of that was seen and not assumed, in [0, 1)

NaN where one side is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.ranking.standing import COLUMNS, DAY_S, Standing

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Listed = NDArray[np.int32] | NDArray[np.int64]
FEATURES = (
    "taste",
    "prior",
    "together",
    "together_max",
    "behavior",
    "text",
    "image",
    "text_mean",
    "popularity",
    "price",
    "match",
    "history",
    "freshness",
    "dated",
    "ctr",
    "ctr_known",
)
NEWEST = 20
"""Items of the history that are looked at, the newest."""
HALF_LIFE = 10.0
"""An item of the history counts half after so many newer ones."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """What is known of the items.

    Args:
        item_vectors: float32 [n_items, dim + 1]; embedding, then prior.
        text, image: rows -> their vectors, float32 [n, d]; 0 where missing.
        popularity: float32 [n_items]; users who met each.
        together: rows -> the rows most often met by the same users as each, and by how many; int [n, k] both, -1 pads.
        alike: rows, depth -> for each kind of content, the rows nearest to each by it, best first, int [n, <= depth],
            -1 pads.
        prices: float32 [n_items]; NaN where unknown.
        match_scores: float32 [n_items]; NaN where unknown.
        newcomers: int64; rows that nobody has met.
    """

    item_vectors: Floats
    text: Callable[[Rows], Floats]
    image: Callable[[Rows], Floats]
    popularity: Floats
    together: Callable[[Rows], tuple[Listed, Listed]]
    alike: Callable[[Rows, int], Sequence[Listed]]
    prices: Floats
    match_scores: Floats
    newcomers: Rows

    @cached_property
    def voiceless(self) -> NDArray[np.bool_]:
        """Items without an embedding, of which a dot product says nothing, bool [n_items]."""
        voiceless: NDArray[np.bool_] = np.logical_not(np.any(self.item_vectors[:, :-1], axis=1))
        return voiceless

    @cached_property
    def most_users(self) -> float:
        """Users who met the best known item."""
        return float(self.popularity.max(initial=0))


def features(
    catalog: Catalog,
    user: Floats | None,
    history: Rows,
    rows: Rows,
    *,
    standing: Standing,
    now_s: float,
    scenario: str = "",
) -> Floats:
    """The features of some candidates for one user, float32 [n, len(FEATURES)].

    Args:
        catalog: what is known of the items.
        user: float32 [dim]; the user's vector; None for a stranger.
        history: int64; rows of what the user met, newest last.
        rows: int64 [n]; the candidates.
        standing: what is known of the items at the moment.
        now_s: the moment, UTC seconds; what comes after it has no age yet.
        scenario: what the answer is for, "" for nothing in particular.
    """
    found = np.full((len(rows), len(FEATURES)), np.nan, dtype=np.float32)
    column = {name: found[:, place] for place, name in enumerate(FEATURES)}
    vectors = catalog.item_vectors.take(rows, axis=0)  # in half the time of an index
    if user is not None:
        column["taste"][:] = np.einsum("nd,d->n", vectors[:, :-1], user)
    column["prior"][:] = vectors[:, -1]
    column["popularity"][:] = np.log1p(catalog.popularity[rows]) / (np.log1p(catalog.most_users) or 1.0)
    column["match"][:] = catalog.match_scores[rows]
    column["history"][:] = np.log1p(len(history))
    known = dict(zip(COLUMNS, standing.at(rows, scenario).T, strict=True))
    column["ctr"][:], column["ctr_known"][:] = known["ctr"], known["ctr_known"]
    age = now_s / DAY_S - known["since"]
    here = age >= 0
    column["dated"][:] = here
    column["freshness"][:] = np.where(here, -np.log1p(np.where(here, age, 0)), np.nan)
    newest = history[-NEWEST:]
    if not len(newest):
        return found
    column["together"][:], column["together_max"][:] = _together(catalog, newest, rows)
    column["behavior"][:] = _cosines(vectors[:, :-1], catalog.item_vectors[newest, :-1])[0]
    column["text"][:], column["text_mean"][:] = _cosines_of(catalog.text, newest, rows)
    column["image"][:] = _cosines_of(catalog.image, newest, rows)[0]
    paid = catalog.prices[newest]
    paid = paid[paid > 0]
    if len(paid):
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.abs(np.log(catalog.prices[rows]) - np.log(paid).mean())
        away[~np.isfinite(away)] = np.nan
        column["price"][:] = away
    return found


def _together(catalog: Catalog, newest: Rows, rows: Rows) -> tuple[Floats, Floats]:
    largest = np.zeros(len(rows), dtype=np.float32)
    if not len(rows):
        return largest, largest
    order = np.argsort(rows)
    rising = rows[order]
    met, users = catalog.together(newest)
    at = np.minimum(np.searchsorted(rising, met), len(rising) - 1)
    here = rising[at] == met
    at, met, users, item = order[at[here]], met[here], users[here], np.nonzero(here)[0]
    of_both = np.maximum(1, catalog.popularity[newest[item]]) * np.maximum(1, catalog.popularity[met])
    value = (users / np.sqrt(of_both)).astype(np.float32)
    fading = 0.5 ** ((len(newest) - 1 - item) / HALF_LIFE)
    np.maximum.at(largest, at, value)
    return np.bincount(at, value * fading, len(rows)).astype(np.float32), largest


def _cosines_of(vectors: Callable[[Rows], Floats], newest: Rows, rows: Rows) -> tuple[Floats, Floats]:
    """As `_cosines`, of the vectors of some items; those of the candidates are not looked up without need."""
    theirs = vectors(newest)
    return _cosines(vectors(rows) if theirs.shape[1] else np.zeros((len(rows), 0), dtype=np.float32), theirs)


def _cosines(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Largest and mean cosine of each of ours with theirs; NaN where one side has no vector."""
    square = np.einsum("nd,nd->n", theirs, theirs)
    there = square > 0
    if not there.any():
        nothing = np.full(len(ours), np.nan, dtype=np.float32)
        return nothing, nothing
    known = theirs[there] / np.sqrt(square[there])[:, None]
    dots = known @ ours.T  # one row an item of the history: its largest and its sum go along the long side
    with np.errstate(invalid="ignore"):  # 0 / 0 where ours is missing
        length = np.sqrt(np.einsum("nd,nd->n", ours, ours))
        return dots.max(axis=0) / length, dots.sum(axis=0) / (len(known) * length)
