"""The inverse of a symmetric positive definite matrix, in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import spotrf, spotri

BLOCK = 1024
"""Rows whose other half is copied at once."""


def inverse(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """By Cholesky (LAPACK's potrf and potri): n^3 steps, half of what a general inverse takes, and no second matrix.

    Args:
        matrix: float32 [n, n], symmetric and in C order; it is overwritten.

    Raises:
        LinAlgError: the matrix is not positive definite.
    """
    factor, failed = spotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if failed:
        raise LinAlgError(f"the matrix must be positive definite, its leading minor {failed} is not")
    result, _ = spotri(factor, lower=True, overwrite_c=True)
    whole: NDArray[np.float32] = result.T  # C order again; LAPACK's lower half is the upper one here
    for start in range(0, len(whole), BLOCK):
        rows = slice(start, start + BLOCK)
        corner = np.triu(whole[rows, rows])
        whole[rows, rows] = corner + np.triu(corner, 1).T
        whole[start + BLOCK :, rows] = whole[rows, start + BLOCK :].T
    return whole
