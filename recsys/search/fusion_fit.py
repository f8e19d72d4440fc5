"""Learning how much each channel is to be believed, from known-item queries of the shop.

With s the scores of the pooled items of a query, [n_channels, n_pool], and weights w >= 0, the chance that an item is
the one looked for is softmax(w s); the weights make the right items of the training queries most likely
(conditional logit: McFadden, 1974). They are used only if they beat reciprocal-rank fusion on other queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.search.channels import SIDES
from recsys.search.fusion import Fusion, Listed, completed
from recsys.search.known_items import known_items, reciprocal_rank
from recsys.search.query import SearchQuery
from recsys.search.searcher import Searcher

RIDGE = 1e-3
LEAST_QUERIES = 20
"""Fewer known items on one of the two sides leave reciprocal-rank fusion in place."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What the channels say of a query whose answer is known.

    Args:
        listed: the pool.
        right: rows of the right items.
    """

    listed: Listed
    right: NDArray[np.int64]


def learn_words(searcher: Searcher) -> dict[str, Any]:
    """Learn how the channels of words are fused, and choose.

    Returns:
        "weights" by channel, or None where ranks are fused; "queries": how many were learned from and chosen on; and
        "mrr" on the latter by method, single channels included. Without two channels, or enough queries, the weights
        are None and nothing was measured.
    """
    titles = [str(shown["title"] or "") for shown in searcher.bundle.displays()]
    asked = known_items(titles, searcher.stored.config.fusion_queries)
    judged: list[Judged] = []
    for one in asked:
        listed = searcher.listed(SearchQuery(words=one.words, available_only=False))
        names = [name for name in SIDES["words"] if name in listed.names]
        if len(names) < 2:
            break
        judged.append(Judged(listed.of(names), one.rows))
    train, valid = judged[0::2], judged[1::2]
    if min(len(train), len(valid)) < LEAST_QUERIES:
        return {"weights": None, "queries": [0, 0], "mrr": {}}
    names = list(train[0].listed.names)
    constant = searcher.stored.config.rank_constant
    learned = Fusion(constant, dict(zip(names, fit_weights(train).tolist(), strict=True)))
    tried = {"reciprocal_ranks": Fusion(constant), "learned": learned}
    alone = {name: Fusion(constant, {one: float(one == name) for one in names}) for name in names}
    mrr = {name: mean_reciprocal_rank(valid, fusion) for name, fusion in {**alone, **tried}.items()}
    better = mrr["learned"] > mrr["reciprocal_ranks"]
    return {"weights": learned.weights if better else None, "queries": [len(train), len(valid)], "mrr": mrr}


def fit_weights(judged: Sequence[Judged]) -> NDArray[np.float64]:
    """Weights of the channels, float64 [n_channels], >= 0; queries whose answer no channel lists teach nothing."""
    from scipy.optimize import minimize

    known = [(completed(one.listed.scores), np.isin(one.listed.rows, one.right)) for one in judged]
    known = [(scores, right) for scores, right in known if right.any() and not right.all()]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, slope = RIDGE * float(weights @ weights), 2 * RIDGE * weights
        for scores, right in known:
            logits = weights @ scores
            logits -= logits.max()
            chance = np.exp(logits)
            found = float(chance[right].sum())
            whole = float(chance.sum())
            total += (np.log(whole) - np.log(max(found, 1e-300))) / len(known)
            slope = slope + (scores @ chance / whole - scores[:, right] @ chance[right] / max(found, 1e-300)) / len(
                known
            )
        return total, slope

    start = np.ones(len(judged[0].listed.names))
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    weights: NDArray[np.float64] = fitted.x
    return weights


def mean_reciprocal_rank(judged: Sequence[Judged], fusion: Fusion) -> float:
    """How high the right items stand."""
    places = []
    for one in judged:
        score = fusion.parts(one.listed).sum(axis=0)
        order = one.listed.rows[np.lexsort((one.listed.rows, -score))]
        places.append(reciprocal_rank(order, one.right))
    return float(np.mean(places))
