"""Learns a ranker from what users went on to like, and keeps it only if it beats the order it would replace.

Users with validation pairs are parted in two. The ranker is trained on one half, with features that know the training
side alone, and judged on the other, against the order by taste and prior. It is adopted where its ndcg@20 is higher
beyond the doubt of a 95% interval over those users. Test pairs are looked at once, for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import structlog

from recsys import metrics
from recsys.bootstrap import bootstrap_means, interval
from recsys.prepare import Prepared
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES, Floats, Rows
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.ranking.lists import K, Lists, histories_of, hits_of, lists_of, pairs_of, training_catalog

log = structlog.get_logger()


def learn_ranker(
    prepared: Prepared, item_vectors: Floats, user_embeddings: Floats, config: RankingConfig, *, seed: int
) -> tuple[LinearRanker | None, dict[str, Any]]:
    """A ranker that beats the order by taste and prior, where one is found, and how it was judged.

    Args:
        prepared: the shop and its split.
        item_vectors: float32 [n_items, dim + 1]; as in a bundle.
        user_embeddings: float32 [n_users, dim].
        config: how much is learned from.
        seed: of which users are on which side.

    Returns:
        None where it is not to be used; and the report: users "trained_on", what "valid" and "test" users say (see
        `judged`), the weights, and whether it was "adopted". Only {"adopted": False} where there is too little to
        learn from.
    """
    valid, test = (pairs_of(side) for side in (prepared.split.valid, prepared.split.test))
    users = np.random.default_rng(seed).permutation(sorted(valid))
    half = min(len(users) // 2, config.users)
    if not config.learn or half < config.least:
        return None, {"adopted": False}
    catalog = training_catalog(prepared, item_vectors)
    histories = histories_of(prepared.split.train)

    def listed(some: Sequence[int], held: dict[int, Rows], *, but: dict[int, Rows]) -> Lists:
        return lists_of(catalog, user_embeddings, histories, some, held, but=but)

    own, others = users[:half].tolist(), users[half : 2 * half].tolist()
    trained = listed(own, valid, but={})
    if not any(liked.any() for liked in trained.liked):
        return None, {"adopted": False}
    mean, scale, weights = fit_linear(trained.features, trained.liked, penalty=config.penalty)
    ranker = LinearRanker(mean, scale, weights, {})
    report: dict[str, Any] = {"weights": dict(zip(FEATURES, weights.tolist(), strict=True))}
    report |= {"trained_on": half, "valid": judged(ranker, listed(others, valid, but={}), seed=seed)}
    adopted = bool(report["valid"]["ndcg@20"]["difference_low"] > 0)
    tested = sorted(test)[:: max(1, len(test) // config.users)]
    report |= {"test": judged(ranker, listed(tested, test, but=valid), seed=seed), "adopted": adopted}
    log.info("ranker learned", adopted=adopted, valid=report["valid"]["ndcg@20"], test=report["test"]["ndcg@20"])
    return LinearRanker(mean, scale, weights, report) if adopted else None, report


def judged(ranker: LinearRanker, lists: Lists, *, seed: int) -> dict[str, Any]:
    """Recall and ndcg @20 of the order before and of the ranker's, and their difference with its 95% interval."""
    told: dict[str, Any] = {"users": len(lists.features)}
    hits = [hits_of(before, liked) for before, liked in zip(lists.before, lists.liked, strict=True)]
    ranked = [ranker.score(of) for of in lists.features]
    now = [hits_of(score, liked) for score, liked in zip(ranked, lists.liked, strict=True)]
    for name, metric in (("recall@20", metrics.recall), ("ndcg@20", metrics.ndcg)):
        if not hits:
            told[name] = dict.fromkeys(("before", "ranker", "difference_low", "difference_high"), float("nan"))
            continue  # nobody to ask
        old, new = (metric(np.stack(of), lists.n_held, K) for of in (hits, now))
        low, high = interval(bootstrap_means((new - old)[:, None], samples=500, seed=seed)[:, 0])
        told[name] = {"before": float(old.mean()), "ranker": float(new.mean())}
        told[name] |= {"difference_low": low, "difference_high": high}
    return told
