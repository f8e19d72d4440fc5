"""Prices as attribute values: a few equally filled bands, each named by its ends; numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PRICE = "price"
"""The attribute made of the items' prices."""


def price_bands(price: NDArray[np.float64], n_bands: int) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Rows of the items that have a price, and the name of each one's band, such as "9.99 to 24.5"."""
    rows = np.flatnonzero(np.isfinite(price))
    if len(rows) == 0:
        return rows, np.zeros(0, dtype=object)
    cuts = np.unique(np.quantile(price[rows], np.linspace(0, 1, n_bands + 1)))
    band = np.clip(np.searchsorted(cuts, price[rows], side="right") - 1, 0, max(len(cuts) - 2, 0))
    names = [f"{cuts[b]:g} to {cuts[min(b + 1, len(cuts) - 1)]:g}" for b in range(max(len(cuts) - 1, 1))]
    return rows, np.array([names[b] for b in band.tolist()], dtype=object)


def band_of(price: float, names: Iterable[str]) -> str | None:
    """The band, among those named by `price_bands`, that a price belongs to; below or above all it is the nearest.

    Returns:
        None where there is no band, or no finite price.
    """
    rising = sorted(names, key=_start)
    if not rising or not math.isfinite(price):
        return None
    return max((name for name in rising if _start(name) <= price), key=_start, default=rising[0])


def _start(name: str) -> float:
    return float(name.partition(" to ")[0])
