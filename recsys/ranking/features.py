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
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recsys.ranking.askers import NEWEST, Block, Floats, Rows
from recsys.ranking.standing import COLUMNS, COUNTED, DAY_S, Standing

Listed = NDArray[np.int32] | NDArray[np.int64]
Parts = Sequence[tuple[int, int]]
"""Where the candidates of each user begin and end."""
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

    def warm(self) -> None:
        """Work out what every feed asks for, so that the first need not."""
        _ = self.voiceless


FACTS = ("popularity", "match", "log_price", "length", "rarity")
"""log(1 + users) / log(1 + most users); agreement of picture and words; of a price above 0; of the embedding; 1 /
sqrt(users), where an item that nobody met is taken for one that one user did."""
_AT = {name: place for place, name in enumerate(FEATURES)}


def features(catalog: Catalog, block: Block, rows: Rows, start: Rows, *, standing: Standing) -> Floats:
    """The features of some candidates of each user of a block, float32 [n, len(FEATURES)].

    Args:
        catalog: what is known of the items.
        block: the users.
        rows: int64 [n]; the candidates, one user's after another's; a user's are all different.
        start: int64 [users + 1]; those of user i are `rows[start[i]:start[i + 1]]`.
        standing: what is known of the items at the moment.
    """
    askers, counts = block.askers, np.diff(start)
    found = np.full((len(FEATURES), len(rows)), np.nan, dtype=np.float32)  # one feature after the other: see `score`
    vectors = catalog.item_vectors.take(rows, axis=0)  # in half the time of an index
    found[_AT["prior"]] = vectors[:, -1]
    found[_AT["popularity"]], found[_AT["match"]], prices, lengths, rarity = catalog.facts.take(rows, axis=0).T
    found[_AT["history"]] = np.repeat([math.log1p(len(asker.history)) for asker in askers], counts)
    parts = list(pairwise(start.tolist()))
    for asker, (begin, end) in zip(askers, parts, strict=True):
        if asker.vector is not None:
            np.dot(vectors[begin:end, :-1], asker.vector[:-1], out=found[_AT["taste"], begin:end])
    _moving(found, block, rows, parts, standing)
    if not len(block.led):
        return found.T
    _, _, paid, their_lengths, their_rarity = catalog.facts.take(block.led, axis=0).T
    together = _together(catalog, block, rows, parts, (their_rarity, rarity))
    found[_AT["together"]], found[_AT["together_max"]] = together
    theirs = catalog.item_vectors.take(block.led, axis=0)[:, :-1]
    np.divide(theirs, their_lengths[:, None], where=their_lengths[:, None] > 0, out=theirs)
    dots, _ = _cosines(theirs, vectors[:, :-1], block, parts, mean=False)
    np.divide(dots, lengths, where=lengths > 0, out=found[_AT["behavior"]])
    found[_AT["text"]], found[_AT["text_mean"]] = _content(catalog.text, block, rows, parts)
    found[_AT["image"]] = _content(catalog.image, block, rows, parts)[0]
    known = np.flatnonzero(paid == paid)  # noqa: PLR0124 - those that are known
    n_known, users = np.bincount(block.whose[known], minlength=len(askers)), np.full(len(askers), np.nan)
    np.divide(np.bincount(block.whose[known], paid[known], len(askers)), n_known, where=n_known > 0, out=users)
    np.abs(prices - np.repeat(users.astype(np.float32), counts), out=found[_AT["price"]])
    return found.T


def _moving(found: Floats, block: Block, rows: Rows, parts: Parts, standing: Standing) -> None:
    """Fill in what moves with time."""
    scenarios = [asker.scenario for asker in block.askers]
    if len(set(scenarios)) == 1:
        known = standing.at(rows, scenarios[0])
    else:
        known = np.concatenate(
            [standing.at(rows[begin:end], of) for of, (begin, end) in zip(scenarios, parts, strict=True)]
        )
    now = np.array([asker.now_s / DAY_S for asker in block.askers], dtype=np.float32)
    found[_AT["ctr"] : _AT["ctr_known"] + 1] = known[:, COUNTED].T
    age = np.repeat(now, [end - begin for begin, end in parts]) - known[:, _SINCE]
    here = age >= 0
    found[_AT["dated"]] = here
    np.negative(np.log1p(age, where=here, out=age), where=here, out=found[_AT["freshness"]])


_FADING = 0.5 ** (np.arange(NEWEST) / HALF_LIFE)
_SINCE = COLUMNS.index("since")


def _together(
    catalog: Catalog, block: Block, rows: Rows, parts: Parts, rarity: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Sum and largest of what joins each candidate to its user's history; `rarity` is that of `block.led`, and ours."""
    whose = np.repeat(np.arange(len(parts)), [end - begin for begin, end in parts])
    n_items, n = len(catalog.item_vectors), len(rows)
    met, users = catalog.together(block.led)
    candidate = np.zeros(n_items, dtype=np.bool_)  # of whomever: few others need be looked for
    candidate[rows] = True
    here = np.flatnonzero(candidate.take(met.ravel(), mode="clip") & (met.ravel() >= 0))
    led = here // met.shape[1]
    pairs = whose * n_items + rows
    order = np.argsort(pairs, kind="stable")
    asked = block.whose.take(led) * n_items + met.ravel().take(here)
    at = order.take(pairs.take(order).searchsorted(asked), mode="clip")
    there = np.flatnonzero(pairs.take(at) == asked)
    at, led, here = at.take(there), led.take(there), here.take(there)
    value = users.ravel().take(here) * (rarity[0].take(led) * rarity[1].take(at))
    largest = np.zeros(n, dtype=np.float32)
    np.maximum.at(largest, at, value.astype(np.float32))
    fading = _FADING.take(block.turn.take(led))
    return np.bincount(at, value * fading, n).astype(np.float32), largest


def _content(
    vectors: Callable[[Rows], Floats], block: Block, rows: Rows, parts: Parts
) -> tuple[Floats, Floats] | tuple[np.float32, np.float32]:
    """Largest and mean cosine of each candidate's vector with those of its user's history; NaN where one side has none.

    The vectors of the candidates are not looked up without need.
    """
    theirs = vectors(block.led)
    if not theirs.any():
        return _NAN, _NAN
    ours = vectors(rows)
    largest, mean = _cosines(theirs, ours, block, parts)
    nothing = (largest == 0).nonzero()[0]
    if len(nothing):
        missing = nothing[~ours[nothing].any(axis=1)]
        largest[missing] = mean[missing] = np.nan
    return largest, mean


def _cosines(theirs: Floats, ours: Floats, block: Block, parts: Parts, *, mean: bool = True) -> tuple[Floats, Floats]:
    """Largest and mean dot product of each of ours with those of theirs that are not 0; NaN where all are.

    Args:
        theirs: float32 [n, d]; of `block.led`.
        ours: float32 [m, d]; of the candidates.
        block: the users.
        parts: where the candidates of each begin and end.
        mean: whether that is asked for, or else left NaN.
    """
    largest, means = np.full((2, len(ours)), np.nan, dtype=np.float32)
    there, start = theirs.any(axis=1), block.start
    if not there.all():
        theirs, start = theirs[there], np.append(0, np.cumsum(there))[start]
    for (first, last), (begin, end) in zip(pairwise(start.tolist()), parts, strict=True):
        if first < last:
            dots = theirs[first:last] @ ours[begin:end].T  # a row an item of the history: its largest goes along it
            np.maximum.reduce(dots, axis=0, out=largest[begin:end])
            if mean:
                np.add.reduce(dots, axis=0, out=means[begin:end])
                means[begin:end] /= last - first
    return largest, means


_NAN = np.float32(np.nan)
