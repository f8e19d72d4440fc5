"""A random walk over users, content and items as a linear filter (the family of RP3beta, GF-CF and label spreading).

With A the matrix of users and items, perhaps with side rows below it (`recsys.linear.side`), D_r and D_c its row and
column sums, and B = D_r^-a A D_c^-1/2 over its largest singular value, so that P = B^T B has the spectrum [0, 1],

    W = D_c^-p (P + g P^2 + g^2 P^3 + ...) D_c^q = D_c^-p P (I - g P)^-1 D_c^q,      score(u, .) = x_u W.

g = 0 is one step from item to user to item: with a = 1/2 cosine-like item neighbors, and the linear filter of GF-CF
(Shen et al. 2021); RP3beta (Paudel et al. 2016) is a member of it. g near 1 lets the walk go on (label spreading, Zhou
et al. 2004): where users have two or three items, the items that their items' users' items' users have are all there is
to go by. g below 0 holds against an item what the second step says of it, which sharpens (Choi et al. 2023): it helps
where users have many items. p and q say what becomes of popularity at the start and at the end of the walk: with
p = q = 1/2 it is kept on the way there and given back on arrival; a smaller q brings rare items forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.linear.inverse import inverse
from recsys.linear.scaling import column_sums, powers, row_sums, scaled

POWER_STEPS = 30
"""Products by which the largest singular value is found; at a = 1/2 it is 1 by construction."""


@dataclass(frozen=True)
class WalkShape:
    """Exponents and length of the walk; see the head of this file.

    Args:
        user_exponent: a.
        source_exponent: p.
        target_exponent: q.
        persistence: g, in (-1, 1).
    """

    user_exponent: float = 0.5
    source_exponent: float = 0.0
    target_exponent: float = 0.5
    persistence: float = 0.0

    def __post_init__(self) -> None:
        if not -1 < self.persistence < 1:
            raise ValueError(f"persistence must be in (-1, 1), got {self.persistence}")


def half_step(matrix: sparse.csr_matrix, user_exponent: float) -> sparse.csr_matrix:
    """B of the head: float32, of `matrix`'s shape, largest singular value 1 (all 0 where the matrix is)."""
    items = powers(column_sums(matrix), -0.5)
    half = scaled(matrix, rows=powers(row_sums(matrix), -user_exponent), columns=items)
    top = _largest_singular_value(half)
    if top > 0:
        half.data /= np.float32(top)
    return half


def walk_core(half: sparse.csr_matrix, persistence: float) -> NDArray[np.float32]:
    """P (I - g P)^-1 of the head, by one Cholesky inverse; float32 [n_items, n_items].

    Args:
        half: B.
        persistence: g.
    """
    step = np.asarray((half.T @ half).todense(), dtype=np.float32)
    if persistence == 0:
        return step
    step *= -np.float32(persistence)
    step[np.diag_indices_from(step)] += 1
    core = inverse(step)  # (I - g P)^-1 = I + g P (I - g P)^-1
    core[np.diag_indices_from(core)] -= 1
    core /= np.float32(persistence)
    return core


def walk_weights(core: NDArray[np.float32], degrees: NDArray[np.float64], shape: WalkShape) -> NDArray[np.float32]:
    """W of the head from its core: float32 [n_items, n_items].

    Args:
        core: see `walk_core`.
        degrees: float64 [n_items], D_c.
        shape: of the walk.
    """
    weights = core * powers(degrees, -shape.source_exponent)[:, None]
    weights *= powers(degrees, shape.target_exponent)
    return weights


def walk_scores(
    history: sparse.csr_matrix, half: sparse.csr_matrix, degrees: NDArray[np.float64], shape: WalkShape, *, steps: int
) -> NDArray[np.float32]:
    """The same scores for some users, step by step and without W, for catalogs whose W would not fit.

    The series is cut after `steps` terms, so what is left out is at most the share |g|^steps of the whole.

    Args:
        history: x, [n, n_items]; the users' items.
        half: B.
        degrees: float64 [n_items], D_c.
        shape: of the walk.
        steps: terms of the series, at least 1; with g = 0 the first is all of it.

    Returns:
        float32 [n, n_items].
    """
    back = half.T.tocsr()
    at = scaled(history, columns=powers(degrees, -shape.source_exponent))
    scores: NDArray[np.float32] = ((at @ back) @ half).toarray().astype(np.float32, copy=False)
    reached = scores
    for _ in range(steps - 1 if shape.persistence else 0):
        reached = np.float32(shape.persistence) * (back @ (half @ reached.T)).T  # nearly all items are reached now
        scores = scores + reached
    return scores * powers(degrees, shape.target_exponent)


def _largest_singular_value(matrix: sparse.csr_matrix) -> float:
    """By power iteration from the vector of ones, which suits a matrix without negative entries."""
    vector = np.ones(matrix.shape[1], dtype=np.float64)
    top = 0.0
    for _ in range(POWER_STEPS):
        length = float(np.linalg.norm(vector))
        if length == 0:
            return 0.0
        vector = matrix.T @ (matrix @ (vector / length))
        top = float(np.sqrt(np.linalg.norm(vector)))
    return top
