"""How far repeated measurements lie apart, told alike wherever figures are printed with a ±."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sample_deviation(values: ArrayLike) -> NDArray[np.float64]:
    """The standard deviation of a sample: over the first axis, with n - 1 below.

    Args:
        values: numbers, [n, ...]; one row a seed, split or town.

    Returns:
        float64 [...] (of no dimension for a plain list of numbers); NaN for fewer than two rows, as one measurement
        says nothing of its own spread.
    """
    rows = np.asarray(values, dtype=np.float64)
    return np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.full(rows.shape[1:], np.nan)
