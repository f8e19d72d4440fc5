"""Counters of items through time: what was known at any moment, and nothing that came later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.appeal.examination import Examination, fit_examination
from recsys.appeal.shrinkage import Counts

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CounterHistory:
    """What was shown and clicked, a row an item, a scenario, a slot and a stretch of time.

    Args:
        items: outside ids.
        scenarios: those that are counted by themselves; the first is "", which stands for all others and for none.
        surfaces: what kinds of lists there were.
        item_idx, scenario_idx, surface_idx, position: int64 [n].
        shown_s: float64 [n]; end of the stretch in which it was shown, UTC seconds.
        known_s: float64 [n]; when all clicks that count for it were known.
        shown, clicks: float64 [n]; how often, and how often with a click.
        fair_shown, fair_clicks: float64 [n]; the same, a slot counting one over the probability with which its item
            stood there; what curves of places are fitted to.
        randomized: share of the slots that were drawn, so that the curves are no supposition.
        half_life_s: counts are worth half after so long.
        window_s: a click counted so long after its slot.
        until_s: nothing that was shown later is counted.
    """

    items: Vocabulary
    scenarios: tuple[str, ...]
    surfaces: tuple[str, ...]
    item_idx: I64
    scenario_idx: I64
    surface_idx: I64
    position: I64
    shown_s: F64
    known_s: F64
    shown: F64
    clicks: F64
    fair_shown: F64
    fair_clicks: F64
    randomized: float
    half_life_s: float
    window_s: float
    until_s: float

    def __len__(self) -> int:
        return len(self.item_idx)

    @cached_property
    def moments(self) -> F64:
        """When something became known, rising."""
        return np.unique(self.known_s)

    @property
    def end_s(self) -> float:
        """When everything was known; 0 where there is nothing."""
        return float(self.moments[-1]) if len(self) else 0.0

    def examination(self, moment: float) -> Examination:
        """How places are looked at, by what was known at a moment."""
        told = (self.known_s <= moment) & (self.fair_shown > 0)
        width = int(self.position.max(initial=0)) + 1
        n_places = len(self.surfaces) * width
        cell = (self.item_idx * n_places + self.surface_idx * width + self.position)[told]
        different, place = np.unique(cell, return_inverse=True)
        fair = (self.fair_shown[told], self.fair_clicks[told])
        shown, clicks = (np.bincount(place, of, len(different)).astype(np.float64) for of in fair)
        item, where = np.divmod(different, n_places)
        scale = self.clicks[told].sum() / max(clicks.sum(), 1e-300)  # fair clicks of rare draws count for many
        return fit_examination(self.surfaces, item, np.divmod(where, width), shown * scale, clicks * scale)

    def counts(self, moment: float, examination: Examination) -> Counts:
        """What was known at a moment of each item in each scenario, fading until then.

        Args:
            moment: UTC seconds.
            examination: how places are looked at.
        """
        known = self.known_s <= moment
        width = int(self.position.max(initial=0)) + 1
        table = np.stack([examination.table(surface, width) for surface in self.surfaces])
        fading = 0.5 ** ((moment - self.shown_s[known]) / self.half_life_s)
        looks = self.shown[known] * table[self.surface_idx[known], self.position[known]] * fading
        shape = (len(self.scenarios), len(self.items))
        cell = self.scenario_idx[known] * shape[1] + self.item_idx[known]

        def summed(values: F64) -> F64:
            return np.bincount(cell, values, shape[0] * shape[1]).astype(np.float64).reshape(shape)

        return Counts(summed(self.clicks[known] * fading), summed(looks), summed(looks * fading))
