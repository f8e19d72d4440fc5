"""EASE in closed form, with degrees taken off and with side rows.

Steck (2019): the item-item matrix W of least |X - X W|^2 + r |W|^2 with zero diagonal is, with P = (X^T X + r I)^-1,

    W = I - P diag(1 / diag P).

Here X is D_r^-a A D_c^-b: A the matrix of users and items, perhaps with side rows below it (`recsys.linear.side`),
D_r and D_c its row and column sums. a > 0 keeps users of many items from outweighing all others. b > 0 is, in terms of
A, a ridge that grows with the item's popularity, r d^2b, and scores that popular items must earn; how much of it they
are given back is the exponent q in score(u, .) = x_u D_c^-b W D_c^q. r is given as a multiple of the mean of the
diagonal of X^T X, so that one value suits shops of any size.

Beyond some ten thousand items P neither fits nor ends in time. There each item is explained by its K nearest items
alone (`local_ease_weights`): with G = X^T X and N the K items of largest cosine to j among those that share a row with
it,

    W[N, j] = (G[N, N] + r I)^-1 G[N, j],

which is the same least squares with all other weights held at 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import solve

from features.progress import bar
from recsys.linear.inverse import inverse
from recsys.linear.scaling import column_sums, powers, row_sums, scaled


def ease_input(
    matrix: sparse.csr_matrix, *, user_exponent: float, item_exponent: float
) -> tuple[sparse.csr_matrix, NDArray[np.float32]]:
    """X of the head, and the columns' factors D_c^-b, float32 [n_items], that a user's history takes too."""
    columns = powers(column_sums(matrix), -item_exponent)
    return scaled(matrix, rows=powers(row_sums(matrix), -user_exponent), columns=columns), columns


def ease_weights(x: sparse.csr_matrix, *, ridge: float) -> NDArray[np.float32]:
    """W of the head, float32 [n_items, n_items]; an item that nobody has gets and gives 0.

    Args:
        x: X, [n_rows, n_items].
        ridge: r over the mean of the diagonal of X^T X, > 0.

    Raises:
        ValueError: the ridge is not positive.
    """
    _check(ridge)
    gram = np.asarray((x.T @ x).todense(), dtype=np.float32)
    diagonal = gram.diagonal().copy()
    if not diagonal.any():
        return np.zeros_like(gram)
    gram[np.diag_indices_from(gram)] += np.float32(ridge * diagonal[diagonal > 0].mean())
    weights = inverse(gram)
    weights /= -weights.diagonal().copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def local_ease_weights(x: sparse.csr_matrix, *, ridge: float, neighbors: int) -> sparse.csr_matrix:
    """W of the head with at most `neighbors` entries a column, float32 [n_items, n_items].

    Args:
        x: X, [n_rows, n_items].
        ridge: as in `ease_weights`.
        neighbors: K, at least 1.

    Raises:
        ValueError: the ridge is not positive.
    """
    _check(ridge)
    n_items = x.shape[1]
    gram = sparse.csr_matrix(x.T @ x)
    diagonal = gram.diagonal()
    if not diagonal.any():
        return gram
    penalty = np.float32(ridge * diagonal[diagonal > 0].mean())
    length = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    near, weights = [], []
    with bar("local EASE", total=n_items) as progress:
        for item in range(n_items):
            place = slice(gram.indptr[item], gram.indptr[item + 1])
            others, shared = gram.indices[place], gram.data[place]
            others, shared = others[others != item], shared[others != item]
            if len(others) > neighbors:
                kept = np.argpartition(-shared / length[others], neighbors - 1)[:neighbors]
                others, shared = others[kept], shared[kept]
            block = gram[others][:, others].toarray()
            block[np.diag_indices_from(block)] += penalty
            near.append(others)
            weights.append(solve(block, shared, assume_a="pos", overwrite_a=True, check_finite=False))
            progress.advance()
    columns = np.repeat(np.arange(n_items), [len(one) for one in near])
    entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(near), columns))
    return sparse.csr_matrix(entries, shape=(n_items, n_items))


def _check(ridge: float) -> None:
    if not ridge > 0:
        raise ValueError(f"ridge must be > 0, got {ridge}")
