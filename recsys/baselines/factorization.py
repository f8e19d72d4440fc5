"""What ALS and BPR share: fit step by step, and keep the step at which validation recall is highest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.baselines.tuning import Search
from recsys.held_out import Split
from recsys.scorer import EmbeddingScorer

PATIENCE = 2
"""Checks in a row without a better recall, after which a fit is ended."""


class Factorization(Protocol):
    """What is needed of a model of `implicit`."""

    iterations: int
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]

    def fit(self, user_items: sparse.csr_matrix, show_progress: bool, callback: Callable[..., None]) -> None:
        """Fit, and call back after each pass with its number, counted from 0, and more."""


class _EnoughError(Exception):
    """Ends a fit from its callback."""


def fit_and_offer(
    model: Factorization,
    user_items: sparse.csr_matrix,
    search: Search[EmbeddingScorer],
    params: Mapping[str, object],
    *,
    every: int,
) -> float:
    """Fit a model, offering it to the search every few passes, until recall falls or the passes are done.

    Without validation pairs only the last pass is offered. A fit whose factors stop being finite is ended.

    Returns:
        The best validation recall of this fit; NaN where there is none.
    """
    best, stale = float("nan"), 0

    def after_pass(number: int, *_: object) -> None:
        nonlocal best, stale
        passes = number + 1
        if passes < model.iterations and (not search.decides or passes % every):
            return
        if not (np.isfinite(model.user_factors).all() and np.isfinite(model.item_factors).all()):
            raise _EnoughError
        scorer = EmbeddingScorer(search.name, model.user_factors.copy(), model.item_factors.copy())
        recall = search.offer({**params, "iterations": passes}, scorer)
        better = not recall <= best
        best, stale = (recall, 0) if better else (best, stale + 1)
        if stale >= PATIENCE:
            raise _EnoughError

    with suppress(_EnoughError):
        model.fit(user_items, show_progress=False, callback=after_pass)
    return best


def unfitted(name: str, split: Split) -> EmbeddingScorer:
    """All scores equal: what a factorization knows without a training event."""
    return EmbeddingScorer(
        name,
        np.zeros((len(split.train.users), 1), dtype=np.float32),
        np.zeros((len(split.train.items), 1), dtype=np.float32),
        params={"note": "no training events"},
        fit_s=0.0,
    )
