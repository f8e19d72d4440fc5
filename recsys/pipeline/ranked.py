"""Candidates in the order in which they would be shown; what ranker and stages pass on to one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.candidates import Candidates
from recsys.recommendation import SOURCES, Source


@dataclass(frozen=True, eq=False)
class Ranked:
    """Candidates, best first.

    Args:
        rows: int64 [n]; rows of the items, all different.
        score: float32 [n]; what the source, or the ranker, thinks; comparable within one source.
        source: int8 [n]; the source of each as its place in `SOURCES`.
        anchor: int64 [n]; row of the item that led to each, -1 where none did.
        merit: float64 [n] in [0, 1]; comparable across sources, falls along the order in which the candidates came.
            Rules, diversity and exploration go by the order alone.
        propensity: float64 [n] in (0, 1]; the probability with which each stands in its place, given those above it.
            1 until a stage draws.
        marginal: float64 [n]; the probability with which each stands in its place over all that could have been drawn;
            1 until a stage draws, NaN where it is not known.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float32]
    source: NDArray[np.int8]
    anchor: NDArray[np.int64]
    merit: NDArray[np.float64]
    propensity: NDArray[np.float64]
    marginal: NDArray[np.float64]

    @classmethod
    def of(cls, found: Sequence[tuple[Source, Candidates]]) -> Ranked:
        """What the tiers of a ladder found, one below the other; each has a band of merit of its own."""
        if not found:
            return cls.nothing()
        n_bands = len(found)
        return cls(
            np.concatenate([one.idx for _, one in found]),
            np.concatenate([one.score for _, one in found]).astype(np.float32),
            np.concatenate([np.full(len(one.idx), SOURCES.index(source), dtype=np.int8) for source, one in found]),
            np.concatenate([one.anchor for _, one in found]),
            np.concatenate(
                [(n_bands - 1 - band + in_unit(one.score)) / n_bands for band, (_, one) in enumerate(found)]
            ),
            np.ones(sum(len(one.idx) for _, one in found)),
            np.ones(sum(len(one.idx) for _, one in found)),
        )

    @classmethod
    def nothing(cls) -> Ranked:
        """No candidates."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none.astype(np.float32), none.astype(np.int8), none, np.zeros(0), np.zeros(0), np.zeros(0))

    def above(self, lower: Ranked) -> Ranked:
        """These candidates and others below them, which share no item with them; each half has half of the merit."""
        if not len(lower) or not len(self):
            return self if len(self) else lower
        return Ranked(
            np.concatenate([self.rows, lower.rows]),
            np.concatenate([self.score, lower.score]),
            np.concatenate([self.source, lower.source]),
            np.concatenate([self.anchor, lower.anchor]),
            np.concatenate([(1 + self.merit) / 2, lower.merit / 2]),
            np.concatenate([self.propensity, lower.propensity]),
            np.concatenate([self.marginal, lower.marginal]),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Ranked:
        """Some of the candidates, in the order of `places`."""
        columns: tuple[NDArray[Any], ...] = (
            self.rows,
            self.score,
            self.source,
            self.anchor,
            self.merit,
            self.propensity,
            self.marginal,
        )
        if isinstance(places, slice) or places.dtype == np.bool_:
            return Ranked(*(column[places] for column in columns))
        return Ranked(*(column.take(places) for column in columns))  # in half the time of an index

    def source_names(self) -> list[Source]:
        """The source of each."""
        return [SOURCES[place] for place in self.source.tolist()]


def in_unit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores stretched over [0, 1]: the best has 1, the worst 0; 1 for all where they are equal. float64 [n]."""
    values = scores.astype(np.float64)
    if not len(values):
        return values
    low = values.min()
    span = values.max() - low
    return np.ones(len(values)) if span == 0 else (values - low) / span
