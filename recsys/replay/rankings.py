"""Rows of rankings as lists: products of weights down the slots of each request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Rows

F64 = NDArray[np.float64]


def starts(rows: Rows) -> NDArray[np.int64]:
    """Row of the first slot of each request, int64 [requests]."""
    changes = np.flatnonzero(np.diff(rows.request_idx)) + 1
    return np.concatenate([[0], changes]).astype(np.int64) if len(rows) else np.zeros(0, dtype=np.int64)


def place(rows: Rows) -> NDArray[np.int64]:
    """How many slots of the same request stand above each row, int64 [m]."""
    first = starts(rows)
    length = np.diff(np.append(first, len(rows)))
    return np.arange(len(rows)) - np.repeat(first, length)


def running_product(rows: Rows, weight: F64) -> tuple[F64, F64]:
    """Products of a weight within each request.

    Args:
        rows: whole requests.
        weight: float64 [m], >= 0.

    Returns:
        float64 [m], the product from the first slot down to the row's own, and float64 [m], that of the whole request.
    """
    first = starts(rows)
    length = np.diff(np.append(first, len(rows)))
    product = weight.copy()
    depth = place(rows)
    for level in range(1, int(length.max(initial=0))):
        at = np.flatnonzero(depth == level)
        product[at] *= product[at - 1]
    whole = np.repeat(product[first + length - 1], length) if len(rows) else product
    return product, whole


def running_sum_above(rows: Rows, values: F64) -> F64:
    """Sum of a value over the slots above each row, float64 [m]."""
    total = np.cumsum(values)
    before = total - values
    first = starts(rows)
    length = np.diff(np.append(first, len(rows)))
    found: F64 = before - np.repeat(before[first], length)
    return found
