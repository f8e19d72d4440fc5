"""Several rankings of the same items as one.

Reciprocal-rank fusion (Cormack, Clarke and Buettcher, 2009) needs nothing to be learned: an item gets the sum over the
channels of 1 / (c + rank), nothing from a channel that does not list it. Learned fusion weighs the scores, sum_i w_i
s_i, which have units of their own: cosines, and for the letters the share of what the query's words could give
(`fusion_fit.py` says how the weights come about, and when they are used). An item that lacks what a channel compares,
such as a picture, is judged by the other channels: it is neither first nor last for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.search.spaces import Hits

Floats = NDArray[np.float64]
TIE = 1e-6
"""Scores that differ by no more are equal."""


@dataclass(frozen=True, eq=False)
class Listed:
    """What some channels say of a pool of items.

    Args:
        names: of the channels.
        rows: int64 [n_pool], rising: every item that a channel lists.
        scores: float64 [n_channels, n_pool]; NaN where an item lacks what a channel compares.
        ranks: float64 [n_channels, n_pool]; from 1, infinite where a channel does not list an item.
    """

    names: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: Floats
    ranks: Floats

    def of(self, names: Sequence[str]) -> Listed:
        """Some of the channels, of the same pool."""
        kept = [self.names.index(name) for name in names]
        return Listed(tuple(names), self.rows, self.scores[kept], self.ranks[kept])


def ranks_of(hits: Sequence[Hits], rows: NDArray[np.int64]) -> Floats:
    """Place of each pooled item in each list, float64 [n_lists, n_pool]; see `Listed`.

    Equal scores share the best of their places: twins in a catalog must not be told apart by their rows.
    """
    ranks = np.full((len(hits), len(rows)), np.inf)
    for place, found in enumerate(hits):
        first = np.r_[True, found.score[:-1] - found.score[1:] > TIE][: len(found.score)]
        shared = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0)) + 1
        ranks[place, np.searchsorted(rows, found.idx)] = shared
    return ranks


def completed(scores: Floats) -> Floats:
    """Scores [n_channels, n_pool] with each channel's mean in place of what it cannot tell; 0 where it tells none."""
    known = ~np.isnan(scores)
    total = np.where(known, scores, 0).sum(axis=1, keepdims=True)
    return np.where(known, scores, total / np.maximum(known.sum(axis=1, keepdims=True), 1))


def standardized(scores: Floats) -> Floats:
    """Rows of mean 0 and standard deviation 1; 0 where all are equal."""
    centered = scores - scores.mean(axis=-1, keepdims=True)
    spread = centered.std(axis=-1, keepdims=True)
    scaled: Floats = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 1e-12)
    return scaled


def reciprocal(ranks: Floats, known: NDArray[np.bool_], constant: float) -> Floats:
    """Each channel's part of the reciprocal-rank score, [n_channels, n_pool]; first in all that know it = a sum of 1.

    Args:
        ranks: see `Listed`.
        known: bool [n_channels, n_pool]; whether a channel can judge an item.
        constant: c.
    """
    parts: Floats = (constant + 1) / (constant + ranks) / np.maximum(known.sum(axis=0), 1)
    return parts


@dataclass(frozen=True)
class Fusion:
    """How the channels of one side of a query become one score.

    Args:
        constant: of reciprocal-rank fusion.
        weights: channel → weight of its score; None for reciprocal-rank fusion.
    """

    constant: float
    weights: Mapping[str, float] | None = None

    def parts(self, listed: Listed) -> Floats:
        """What each channel adds to each item's score, float64 [n_channels, n_pool].

        The learned weights hold for exactly their channels; where a query has others, ranks are fused instead.
        """
        if self.weights is None or set(self.weights) != set(listed.names):
            return reciprocal(listed.ranks, ~np.isnan(listed.scores), self.constant)
        weights = np.array([self.weights[name] for name in listed.names])
        return weights[:, None] * completed(listed.scores)


def mixed(sides: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """The scores of several sides as one: each as it is where it is alone, else standardized and weighed.

    Args:
        sides: float64 [n_pool] each.
        weights: of each, at least one above 0.
    """
    heard = [(side, weight) for side, weight in zip(sides, weights, strict=True) if weight > 0]
    if len(heard) == 1:
        return heard[0][0]
    total = sum(weight for _, weight in heard)
    blended: Floats = sum((weight / total * standardized(side) for side, weight in heard), np.zeros(1))
    return blended


def mixed_parts(sides: Sequence[Mapping[str, Floats]], weights: Sequence[float]) -> dict[str, Floats]:
    """What the parts of several sides give to the mix of the sides' sums, which is what they add up to; see `mixed`.

    Args:
        sides: part → what it gives to its side, float64 [n_pool]; a name that several have counts as one part.
        weights: as of `mixed`.
    """
    heard = [(side, weight) for side, weight in zip(sides, weights, strict=True) if weight > 0]
    if len(heard) == 1:
        return dict(heard[0][0])
    total = sum(weight for _, weight in heard)
    given: dict[str, Floats] = {}
    for side, weight in heard:
        spread = sum(side.values(), np.zeros(1)).std()
        scale = weight / total / spread if spread > 1e-12 else 0.0
        for name, part in side.items():
            given[name] = given.get(name, np.zeros(1)) + scale * (part - part.mean())
    return given
