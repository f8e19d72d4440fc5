"""From counts to what a ranker goes by: an item's appeal over the average one's, shrunk as far as it is not known.

Clicks of an item are Poisson around appeal x looks, and appeals are spread around their mean; mean and spread are taken
from the counts of all items by moments, and the estimate is linear between an item's own rate and the mean (empirical
Bayes: Robbins 1956; the credibility of Buhlmann and Straub 1970; beta-binomial shrinkage has the same mean). In a
scenario an item is supposed to do as it does elsewhere, and its clicks there are shrunk to that likewise; elsewhere,
not everywhere, as clicks that are compared with themselves would tell of no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is supposed of an item before it is shown.

    Args:
        mean: clicks a look; NaN where nothing was ever clicked or shown.
        looks: so many looks at an item say as much as the prior; inf where items do not differ.
    """

    mean: float
    looks: float


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of items, fading with time.

    Args:
        clicks: float64 [..., n_items].
        looks: float64 [..., n_items]; slots shown, each as far as it is looked at.
        looks_squared: float64 [..., n_items]; the same with the fading squared: what the noise of the clicks goes by.
    """

    clicks: F64
    looks: F64
    looks_squared: F64

    def of(self, place: int) -> Counts:
        """One row of several."""
        return Counts(self.clicks[place], self.looks[place], self.looks_squared[place])

    def everywhere(self) -> Counts:
        """The sum of several rows."""
        return Counts(*(of.sum(axis=0) for of in (self.clicks, self.looks, self.looks_squared)))

    def without(self, others: Counts) -> Counts:
        """Those that are not among the others; what is left of rounding is none."""
        return Counts(
            np.maximum(self.clicks - others.clicks, 0),
            np.maximum(self.looks - others.looks, 0),
            np.maximum(self.looks_squared - others.looks_squared, 0),
        )

    def expecting(self, times: F64) -> Counts:
        """With looks at an item worth so many times an average one's, float64 [n_items]."""
        return Counts(self.clicks, self.looks * times, self.looks_squared * times)


def prior_of(counts: Counts) -> Prior:
    """The prior that these counts tell of."""
    shown = counts.looks > 0
    clicks, looks, squared = counts.clicks[shown], counts.looks[shown], counts.looks_squared[shown]
    total = looks.sum()
    if total <= 0 or clicks.sum() <= 0:
        return Prior(float("nan"), float("nan"))
    mean = float(clicks.sum() / total)
    spread = float((((clicks - mean * looks) ** 2 - mean * squared) / looks).sum() / total)
    return Prior(mean, mean / spread if spread > 0 else float("inf"))


def appeal(counts: Counts, prior: Prior) -> F32:
    """Columns `ctr` and `ctr_known` of `recsys/ranking/standing.py`, float32 [n_items, 2].

    An item that was never shown has (0, 0): it is supposed to be like the average. Where nothing at all is known, both
    are NaN.
    """
    if not np.isfinite(prior.mean):
        return np.full((len(counts.looks), 2), np.nan, dtype=np.float32)
    if not np.isfinite(prior.looks):
        return np.zeros((len(counts.looks), 2), dtype=np.float32)
    total = counts.looks + prior.looks
    rate = (counts.clicks + prior.mean * prior.looks) / total
    return np.stack([np.log(rate / prior.mean), counts.looks / total], axis=1).astype(np.float32)


def standing_by(counts: Counts, scenarios: Sequence[str], rows: NDArray[np.int64]) -> tuple[F32, dict[str, F32]]:
    """What counts tell of some items, everywhere and in each scenario, as `Standing.counting` takes it.

    Args:
        counts: float64 [n_scenarios, n_items] each.
        scenarios: their names; what happened in "" counts only everywhere.
        rows: int64 [n]; the items; -1 for one that was never shown.
    """
    counts = Counts(*(np.pad(of, ((0, 0), (0, 1))) for of in (counts.clicks, counts.looks, counts.looks_squared)))
    overall = counts.everywhere()
    everywhere = appeal(overall, prior_of(overall))
    found: dict[str, F32] = {}
    for place, scenario in enumerate(scenarios):
        if not scenario:
            continue
        elsewhere = overall.without(counts.of(place))
        ratio, known = np.nan_to_num(appeal(elsewhere, prior_of(elsewhere))).astype(np.float64).T
        here = counts.of(place).expecting(np.exp(ratio))
        more, known_here = appeal(here, prior_of(here)).T
        if np.isfinite(more).all():  # else nothing is known of this scenario
            found[scenario] = np.stack([ratio + more, known + (1 - known) * known_here], axis=1).astype(np.float32)[
                rows
            ]
    return everywhere[rows], found
