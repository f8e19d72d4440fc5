"""A user's items, times a matrix of items by items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Weights = NDArray[np.float32] | sparse.csr_matrix


@dataclass(frozen=True, eq=False)
class ItemWeightsScorer:
    """score(u, .) = x_u W.

    Args:
        name: short name.
        history: [n_users, n]; x, what each user has: items, and perhaps values of attributes after them.
        weights: [n, n_items], dense or sparse; W[j, i] is what having j says of item i.
        params: what was chosen.
        fit_s: seconds spent on fitting.
    """

    name: str
    history: sparse.csr_matrix
    weights: Weights
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = float("nan")

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Sums of the weights of the user's items, float32 [n, n_items]."""
        product = self.history[user_idx] @ self.weights
        scores = np.asarray(product.toarray() if sparse.issparse(product) else product)
        return scores.astype(np.float32, copy=False)
