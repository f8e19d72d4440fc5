"""Rows of length 1, so that a product of two is their cosine; numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, float32 [n, dim]; zero rows stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(
        vectors, length, out=np.zeros_like(vectors, dtype=np.float32), where=length > 0
    )
    return unit
