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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.ranking.places import Places
from recsys.ranking.standing import COLUMNS, COUNTED, DAY_S, Standing

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
        text, image: rows -> their vectors, float32 [n, d]; of length 1, or 0 where missing.
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
    def facts(self) -> Floats:
        """What an item says for itself, side by side so that a candidate is one look, float32 [n_items, len(FACTS)]."""
        embeddings, fame = self.item_vectors[:, :-1], np.log1p(self.popularity)
        facts = np.full((len(embeddings), len(FACTS)), np.nan, dtype=np.float32)
        facts[:, 0] = fame / (fame.max(initial=0) or 1)
        facts[:, 1] = self.match_scores
        np.log(self.prices, where=self.prices > 0, out=facts[:, 2])
        facts[:, 3] = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
        facts[:, 4] = 1 / np.sqrt(np.maximum(1, self.popularity))
        return facts

    @cached_property
    def voiceless(self) -> Rows:
        """Items without an embedding, of which a dot product says nothing, int64."""
        return np.flatnonzero(self.facts[:, 3] == 0)

    @cached_property
    def places(self) -> Places:
        """Finds rows in lists of them."""
        return Places(len(self.item_vectors))

    def warm(self) -> None:
        """Work out what every feed asks for, so that the first need not."""
        _ = self.voiceless, self.places


FACTS = ("popularity", "match", "log_price", "length", "rarity")
"""log(1 + users) / log(1 + most users); agreement of picture and words; of a price above 0; of the embedding; 1 /
sqrt(users), where an item that nobody met is taken for one that one user did."""
_AT = {name: place for place, name in enumerate(FEATURES)}


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
        rows: int64 [n]; the candidates, all different.
        standing: what is known of the items at the moment.
        now_s: the moment, UTC seconds; what comes after it has no age yet.
        scenario: what the answer is for, "" for nothing in particular.
    """
    found = np.full((len(FEATURES), len(rows)), np.nan, dtype=np.float32)  # one feature after the other: see `score`
    vectors = catalog.item_vectors.take(rows, axis=0)  # in half the time of an index
    if user is not None:
        np.dot(vectors[:, :-1], user, out=found[_AT["taste"]])
    found[_AT["prior"]] = vectors[:, -1]
    found[_AT["popularity"]], found[_AT["match"]], prices, lengths, rarity = catalog.facts.take(rows, axis=0).T
    found[_AT["history"]] = math.log1p(len(history))
    known = standing.at(rows, scenario).T
    found[_AT["ctr"] : _AT["ctr_known"] + 1] = known[COUNTED]
    age = np.float32(now_s / DAY_S) - known[_SINCE]
    here = age >= 0
    found[_AT["dated"]] = here
    np.negative(np.log1p(age, where=here, out=age), where=here, out=found[_AT["freshness"]])
    newest = history[-NEWEST:]
    if not len(newest):
        return found.T
    _, _, paid, their_lengths, their_rarity = catalog.facts.take(newest, axis=0).T
    found[_AT["together"]], found[_AT["together_max"]] = _together(catalog, newest, rows, their_rarity, rarity)
    theirs = catalog.item_vectors.take(newest, axis=0)[:, :-1]
    if not their_lengths.all():
        theirs, their_lengths = theirs[their_lengths > 0], their_lengths[their_lengths > 0]
    if len(theirs):
        dots = (theirs / their_lengths[:, None]) @ vectors[:, :-1].T
        np.divide(dots.max(axis=0), lengths, where=lengths > 0, out=found[_AT["behavior"]])
    found[_AT["text"]], found[_AT["text_mean"]] = _cosines(catalog.text, newest, rows)
    found[_AT["image"]] = _cosines(catalog.image, newest, rows)[0]
    paid = paid[paid == paid]  # noqa: PLR0124 - those that are known
    if len(paid):
        np.abs(prices - paid.mean(), out=found[_AT["price"]])
    return found.T


_SINCE = COLUMNS.index("since")


def _together(
    catalog: Catalog, newest: Rows, rows: Rows, their_rarity: Floats, our_rarity: Floats
) -> tuple[Floats, Floats]:
    met, users = catalog.together(newest)
    at = catalog.places.find(met.ravel(), rows)
    here = np.flatnonzero(at >= 0)
    at, item = at.take(here), here // met.shape[1]
    value = users.ravel().take(here) * (their_rarity.take(item) * our_rarity.take(at))
    largest = np.zeros(len(rows), dtype=np.float32)
    np.maximum.at(largest, at, value.astype(np.float32))
    fading = _FADING[-len(newest) :].take(item)
    return np.bincount(at, value * fading, len(rows)).astype(np.float32), largest


_FADING = 0.5 ** (np.arange(NEWEST - 1, -1, -1) / HALF_LIFE)
_NAN = np.float32(np.nan)


def _cosines(
    vectors: Callable[[Rows], Floats], newest: Rows, rows: Rows
) -> tuple[Floats, Floats] | tuple[np.float32, np.float32]:
    """Largest and mean cosine of each row's vector with those of the newest; NaN where one side has none.

    The vectors of the candidates are not looked up without need.
    """
    theirs = vectors(newest)
    there = theirs.any(axis=1)
    if not there.any():
        return _NAN, _NAN
    if not there.all():
        theirs = theirs[there]
    ours = vectors(rows)
    largest = (theirs @ ours.T).max(axis=0)  # one row an item of the history: its largest goes along the long side
    mean = ours @ (np.full(len(theirs), 1 / len(theirs), dtype=np.float32) @ theirs)
    nothing = np.flatnonzero(largest == 0)
    if len(nothing):
        missing = nothing[~ours[nothing].any(axis=1)]
        largest[missing] = mean[missing] = np.nan
    return largest, mean
