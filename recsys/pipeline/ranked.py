"""Candidates in the order in which they would be shown; what ranker and stages pass on to one another.

Their columns lie in two arrays, so that another order is two looks and not seven: a call into numpy costs a microsecond
however little it is given, and every step of an answer changes the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.candidates import Candidates
from recsys.recommendation import SOURCES, Source

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Ranked:
    """Candidates, best first.

    Args:
        whole: int64 [3, n]; rows, sources and anchors, see the properties of these names.
        real: float64 [4, n]; scores, merits, propensities and marginals, likewise.
    """

    whole: Whole
    real: Real

    @classmethod
    def of(cls, found: Sequence[tuple[Source, Candidates]]) -> Ranked:
        """What the tiers of a ladder found, one below the other; each has a band of merit of its own."""
        n_bands = len(found)
        merits = [(n_bands - 1 - band + in_unit(one.score)) / n_bands for band, (_, one) in enumerate(found)]
        parts = [
            cls.scored(one.idx, np.full(len(one.idx), SOURCES.index(source)), one.anchor, one.score, merit)
            for (source, one), merit in zip(found, merits, strict=True)
        ]
        return cls.nothing() if not parts else parts[0].then(*parts[1:])

    @classmethod
    def scored(
        cls,
        rows: NDArray[np.int64],
        source: NDArray[np.integer],
        anchor: NDArray[np.int64],
        score: NDArray[np.floating],
        merit: Real,
    ) -> Ranked:
        """Candidates of which none is drawn; arguments as the properties."""
        whole, real = np.empty((3, len(rows)), dtype=np.int64), np.ones((4, len(rows)))
        whole[0], whole[1], whole[2] = rows, source, anchor
        real[0], real[1] = score, merit
        return cls(whole, real)

    @classmethod
    def nothing(cls) -> Ranked:
        """No candidates."""
        return cls(np.zeros((3, 0), dtype=np.int64), np.zeros((4, 0)))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the items, all different: int64 [n]."""
        found: Whole = self.whole[0]
        return found

    @property
    def source(self) -> NDArray[np.int64]:
        """The source of each as its place in `SOURCES`: int64 [n]."""
        found: Whole = self.whole[1]
        return found

    @property
    def anchor(self) -> NDArray[np.int64]:
        """Row of the item that led to each, -1 where none did: int64 [n]."""
        found: Whole = self.whole[2]
        return found

    @property
    def score(self) -> NDArray[np.float32]:
        """What the source, or the ranker, thinks; comparable within one source: float32 [n]."""
        found: NDArray[np.float32] = self.real[0].astype(np.float32)
        return found

    @property
    def merit(self) -> Real:
        """Comparable across sources, falls along the order in which the candidates came: float64 [n] in [0, 1].

        Rules, diversity and exploration go by the order alone.
        """
        found: Real = self.real[1]
        return found

    @property
    def propensity(self) -> Real:
        """The probability with which each stands in its place, given those above it: float64 [n] in (0, 1]; 1 until a
        stage draws.
        """
        found: Real = self.real[2]
        return found

    @property
    def marginal(self) -> Real:
        """The same over all that could have been drawn, NaN where it is not known: float64 [n]."""
        found: Real = self.real[3]
        return found

    def above(self, lower: Ranked) -> Ranked:
        """These candidates and others below them, which share no item with them; each half has half of the merit."""
        if not len(lower) or not len(self):
            return self if len(self) else lower
        joined = self.then(lower)
        joined.real[1] = np.concatenate([(1 + self.merit) / 2, lower.merit / 2])
        return joined

    def then(self, *others: Ranked) -> Ranked:
        """These candidates, then others as they are."""
        wholes, reals = [self.whole, *(one.whole for one in others)], [self.real, *(one.real for one in others)]
        return Ranked(np.concatenate(wholes, axis=1), np.concatenate(reals, axis=1))

    def __len__(self) -> int:
        n: int = self.whole.shape[1]
        return n

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Ranked:
        """Some of the candidates, in the order of `places`."""
        if isinstance(places, slice) or places.dtype == np.bool_:
            return Ranked(self.whole[:, places], self.real[:, places])
        return Ranked(self.whole.take(places, axis=1), self.real.take(places, axis=1))

    def with_merit(self, merit: Real) -> Ranked:
        """The same candidates, of these merits."""
        real = self.real.copy()
        real[1] = merit
        return Ranked(self.whole, real)

    def source_names(self) -> list[Source]:
        """The source of each."""
        return list(map(SOURCES.__getitem__, self.source.tolist()))


def in_unit(scores: NDArray[np.floating]) -> Real:
    """Scores stretched over [0, 1]: the best has 1, the worst 0; 1 for all where they are equal. float64 [n]."""
    values = scores.astype(np.float64)
    if not len(values):
        return values
    low = values.min()
    span = values.max() - low
    return np.ones(len(values)) if span == 0 else (values - low) / span


def by_factor(factor: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order of candidates whose places are divided by these factors, int64 [n]; ties keep their order.

    Args:
        factor: float64 [n], >= 0; 0 = after all others.
    """
    stands = np.arange(1, len(factor) + 1, dtype=np.float64)
    if factor.all():
        stands /= factor
    else:
        with np.errstate(divide="ignore"):
            stands /= factor
    return stands.argsort(kind="stable")
