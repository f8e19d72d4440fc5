"""How likely a visitor is to look at a slot, by its place: what must be taken off clicks before items are compared.

A click needs a look at the slot and an item that attracts (Richardson et al. 2007; Craswell et al. 2008): the expected
clicks of an item in a slot are examination x appeal. Both are fitted together to the clicks of each item in each slot,
as a Poisson model with an effect of each item, whose estimate of the slots does not suffer from the many items
(Hausman, Hall, Griliches 1984). Where slots were drawn, a row weighs one over the probability with which its item stood
in its slot, so that every slot is compared over the same items before the same visitors, as intervention harvesting
does (Agarwal et al. 2019); where nothing was drawn, it is supposed that an item attracts alike wherever it stands.

Before there are many clicks, places are supposed to be looked at as the discount of DCG says, 1 / log2(2 + position):
a gamma prior on each, so that a small log makes no place that hardly anybody looks at, whose rare clicks would then
count for a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FLOOR = 0.01
"""No slot is looked at less than this, relative to the best one, whatever a small log says."""
SUPPOSED = 10.0
"""The discount of DCG is supposed of a place as surely as so many clicks would tell it."""
ROUNDS, EXACT = 500, 1e-7


@dataclass(frozen=True)
class Examination:
    """Looks by surface and place, relative to the slot that is looked at most.

    Args:
        curves: surface -> one number in (0, 1] a place from the top; what is further down counts as the last.
    """

    curves: Mapping[str, tuple[float, ...]]

    def of(self, surface: str, position: int) -> float:
        """Looks at a slot, positions counted from 0; the discount of DCG, 1 / log2(2 + position), on a surface of which
        nothing is known.
        """
        curve = self.curves.get(surface)
        return _discount(position) if not curve else curve[min(position, len(curve) - 1)]

    def table(self, surface: str, n_positions: int) -> F64:
        """Looks at the first slots of a surface, float64 [n_positions]."""
        return np.array([self.of(surface, position) for position in range(n_positions)])


def fit_examination(surfaces: Sequence[str], item: I64, slot: tuple[I64, I64], shown: F64, clicks: F64) -> Examination:
    """Fit the curves of some surfaces together; an item attracts alike on all of them.

    Args:
        surfaces: their names.
        item: int64 [n]; the item of each cell, 0, 1, 2, ...
        slot: int64 [n] each; surface and position of each cell.
        shown: float64 [n] > 0; how often it was shown there, weighted.
        clicks: float64 [n] >= 0; clicks there, weighted likewise, so that their sum is how many there were.

    Returns:
        Curves whose largest value is 1; a surface without clicks has none.
    """
    surface, position = slot
    width = int(position.max(initial=0)) + 1
    place = surface * width + position
    n_places, n_items = len(surfaces) * width, int(item.max(initial=-1)) + 1
    seen, of_place = np.bincount(place, shown, n_places), np.bincount(place, clicks, n_places)
    of_item = np.bincount(item, clicks, n_items)
    usual = np.tile([_discount(place) for place in range(width)], len(surfaces))
    looks = np.where(seen > 0, usual, 0.0)
    for _ in range(ROUNDS):  # each step maximizes the likelihood in one set of effects
        appeal = of_item / np.maximum(np.bincount(item, shown * looks[place], n_items), 1e-300)
        expected = np.bincount(place, shown * appeal[item], n_places)
        new = np.where(seen > 0, (of_place + SUPPOSED) / (expected + SUPPOSED / usual), 0.0)
        new /= new.max(initial=0.0) or 1.0
        moved = np.abs(new - looks).max(initial=0.0)
        looks = new
        if moved < EXACT:
            break
    curves = {}
    for row, name in enumerate(surfaces):
        known = np.flatnonzero(seen[row * width : (row + 1) * width])
        if len(known) and of_place[row * width : (row + 1) * width].any():
            values = looks[row * width : row * width + known[-1] + 1]
            told = np.interp(np.arange(len(values)), known, values[known])  # a place nobody saw is like those around
            curves[name] = tuple(np.clip(told, FLOOR, 1.0).tolist())
    return Examination(curves)


def _discount(position: int) -> float:
    return 1 / math.log2(2 + position)
