"""The leading directions of what users have: an ideal low-pass filter on the graph of users and items.

With A the matrix of users and items, perhaps with side rows below it (`recsys.linear.side`), D_r and D_c its row and
column sums, m_r and m_c their means over rows and columns that have any,

    B = (D_r + s m_r)^-1/2 A (D_c + s m_c)^-1/2,      V: the k right singular vectors of B of largest singular values,

    score(u, .) = x_u (D_c + s m_c)^-1/2 V V^T (D_c + s m_c)^q.

At s = 0 and q = 1/2 this is the ideal low-pass filter of GF-CF (Shen et al. 2021): what of a user's taste many others
share stays as it is, the rest is cut. Degrees that grow before they are taken off (s > 0, the renormalization of Peng
et al. 2022) keep a few users of a few items among themselves from being a leading direction. q below 1/2 brings rare
items forward.

The directions are found by subspace iteration from random ones (Halko et al. 2011): a few products with sparse B, which
for a thousand directions of 40,000 items take seconds where an exact decomposition would take hours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.linear.scaling import column_sums, powers, row_sums, scaled

ROUNDS = 3
"""Products with B^T B after the first."""
SPARE = 0.1
"""Further directions, as a share of the wanted ones, that are carried along so that the last wanted ones are good."""
FAINT = 1e-6
"""Of the largest squared length: directions below are rounding, and left out."""


def grown(degrees: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    """D + s m of the head, float64 [n]; a degree of 0 stays 0.

    Args:
        degrees: float64 [n], at least 0.
        smoothing: s.

    Raises:
        ValueError: s is negative.
    """
    if smoothing < 0:
        raise ValueError(f"smoothing must be >= 0, got {smoothing}")
    there = degrees > 0
    mean = degrees[there].mean() if there.any() else 0.0
    return np.where(there, degrees + smoothing * mean, 0.0)


def spectral_input(matrix: sparse.csr_matrix, smoothing: float) -> tuple[sparse.csr_matrix, NDArray[np.float64]]:
    """B of the head, and the columns' grown degrees, float64 [n_items]."""
    columns = grown(column_sums(matrix), smoothing)
    rows = powers(grown(row_sums(matrix), smoothing), -0.5)
    return scaled(matrix, rows=rows, columns=powers(columns, -0.5)), columns


def leading_directions(matrix: sparse.csr_matrix, rank: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Right singular vectors of largest singular values, largest first.

    Args:
        matrix: [n_rows, n_columns].
        rank: how many; fewer where the matrix has fewer.
        seed: of the random directions at the start.

    Returns:
        float32 [n_columns, at most rank]; columns of length 1, at right angles.

    Raises:
        ValueError: no direction is asked for.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    width = min(rank + max(8, round(SPARE * rank)), *matrix.shape)
    back = matrix.T.tocsr()
    start = np.random.default_rng(seed).standard_normal((matrix.shape[0], width), dtype=np.float32)
    found = _at_right_angles(back @ start)
    for _ in range(ROUNDS):
        found = _at_right_angles(back @ (matrix @ found))
    found = _at_right_angles(found)  # a second time, for what rounding left in the first
    seen = matrix @ found
    _, turn = np.linalg.eigh(_gram(seen))
    result: NDArray[np.float32] = found @ turn[:, ::-1][:, :rank].astype(np.float32)
    return result


def _gram(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return (matrix.T @ matrix).astype(np.float64)


def _at_right_angles(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """A basis of the columns' span, by the eigenvectors of their products: a tenth of the time of a QR."""
    values, vectors = np.linalg.eigh(_gram(matrix))
    kept = values > FAINT * values.max(initial=0.0)
    result: NDArray[np.float32] = matrix @ (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return result
