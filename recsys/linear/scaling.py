"""Degrees taken off a matrix of users and items: what decides whether popular items or rare ones come forward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def powers(degrees: NDArray[np.float64], exponent: float) -> NDArray[np.float32]:
    """Powers of degrees, and 0 where the degree is 0: float32 [n]."""
    there = degrees > 0
    raised = np.where(there, degrees, 1.0) ** exponent
    return np.where(there, raised, 0.0).astype(np.float32)


def row_sums(matrix: sparse.csr_matrix) -> NDArray[np.float64]:
    """Sums of the rows, float64 [n_rows]."""
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def column_sums(matrix: sparse.csr_matrix) -> NDArray[np.float64]:
    """Sums of the columns, float64 [n_columns]."""
    return np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel()


def scaled(
    matrix: sparse.csr_matrix,
    *,
    rows: NDArray[np.float32] | None = None,
    columns: NDArray[np.float32] | None = None,
) -> sparse.csr_matrix:
    """diag(rows) matrix diag(columns), float32; what is None is left as it is."""
    result = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    if rows is not None:
        result.data *= np.repeat(rows, np.diff(result.indptr))
    if columns is not None:
        result.data *= columns[result.indices]
    return result
