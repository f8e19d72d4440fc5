"""Matrix factorization by alternating least squares (Hu, Koren & Volinsky 2008), as `implicit` computes it.

    minimize  sum_{u,i} c_ui (p_ui - <x_u, y_i>)^2 + regularization (sum_u |x_u|^2 + sum_i |y_i|^2),

with p_ui = 1 and c_ui = alpha w_ui where the user has the item in training, p_ui = 0 and c_ui = 1 elsewhere. w_ui is 1,
or the pair's summed event weight over the mean of all ("weights"). Each row is solved on its own, so the result does
not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from threadpoolctl import threadpool_limits

from recsys.baselines.config import BaselinesConfig
from recsys.baselines.factorization import fit_and_offer, unfitted
from recsys.baselines.tuning import Search
from recsys.held_out import Split
from recsys.scorer import EmbeddingScorer

_CHECK_EVERY = 8


def fit_als(split: Split, config: BaselinesConfig, *, seed: int) -> EmbeddingScorer:
    """Choose alpha with the penalty, then the width, then the confidence (pairs or weights) on validation."""
    if len(split.train) == 0:
        return unfitted("als", split)
    from implicit.cpu.als import AlternatingLeastSquares

    search = Search[EmbeddingScorer]("als", split, config, seed=seed)
    pairs, weights = split.train.matrix(binary=True), split.train.matrix()
    weights.data /= weights.data.mean()
    pairs_a_user = pairs.nnz / max(int((pairs.getnnz(axis=1) > 0).sum()), 1)

    def try_one(params: dict[str, Any]) -> None:
        if not search.may_try():
            return
        model = AlternatingLeastSquares(
            factors=params["factors"],
            regularization=params["regularization"],
            alpha=params["alpha"],
            iterations=config.als_iterations,
            random_state=seed,
        )
        fit_and_offer(
            model, weights if params["confidence"] == "weights" else pairs, search, params, every=_CHECK_EVERY
        )

    with threadpool_limits(1, "blas"):  # its own threads and those of BLAS would get in each other's way
        for alpha, penalty in product(config.als_alphas, config.als_penalties):
            regularization = round(penalty * alpha * pairs_a_user, 6)
            try_one(
                {
                    "factors": config.als_factors[0],
                    "alpha": alpha,
                    "penalty": penalty,
                    "regularization": regularization,
                    "confidence": "pairs",
                }
            )
        for factors in config.als_factors[1:]:
            try_one({**search.best_params, "factors": factors})
        if (weights.data != weights.data[0]).any():
            try_one({**search.best_params, "confidence": "weights"})
    return replace(search.chosen, params=search.report(), fit_s=search.seconds)
