"""Matrix factorization by Bayesian personalized ranking (Rendle et al. 2009), as `implicit` computes it.

    maximize  sum_{(u, i, j)} ln sigmoid(s_ui - s_uj) - regularization (|x_u|^2 + |y_i|^2 + |y_j|^2),
    s_ui = <x_u, y_i> + b_i,

by stochastic steps over pairs (u, i) of training and items j that the user lacks, drawn in proportion to popularity.
`implicit` shares the factors between threads without locks, so that more than one thread gives other numbers in each
run; one thread is used.
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

_CHECKS = 8


def fit_bpr(split: Split, config: BaselinesConfig, *, seed: int) -> EmbeddingScorer:
    """Choose the learning rate with the regularization, then the width, on validation."""
    if len(split.train) == 0:
        return unfitted("bpr", split)
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    search = Search[EmbeddingScorer]("bpr", split, config, seed=seed)
    pairs = split.train.matrix(binary=True)
    passes = max(_CHECKS, min(config.bpr_steps // pairs.nnz, config.bpr_max_passes))

    def try_one(params: dict[str, Any]) -> None:
        if not search.may_try():
            return
        model = BayesianPersonalizedRanking(
            factors=params["factors"],
            learning_rate=params["learning_rate"],
            regularization=params["regularization"],
            iterations=passes,
            num_threads=1,
            random_state=seed,
        )
        fit_and_offer(model, pairs, search, params, every=max(passes // _CHECKS, 1))

    with threadpool_limits(1, "blas"):
        for rate, penalty in product(config.bpr_rates, config.bpr_penalties):
            try_one({"factors": config.bpr_factors[0], "learning_rate": rate, "regularization": penalty})
        for factors in config.bpr_factors[1:]:
            try_one({**search.best_params, "factors": factors})
    return replace(search.chosen, params=search.report(), fit_s=search.seconds)
