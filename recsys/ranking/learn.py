"""Learns a ranker from what users went on to like, and keeps it only if it beats the order it would replace.

Users with validation pairs are parted in two. The ranker is trained on one half, with features that know the training
side alone, and judged on the other, against the order by taste and prior. It is adopted where its ndcg@20 is higher
beyond the doubt of a 95% interval over those users. What moves with time (`GROUPS`) must earn its place in the same
way, group by group, over the best without it. Test pairs are looked at once, for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import structlog

from recsys import metrics
from recsys.bootstrap import bootstrap_means, interval
from recsys.prepare import Prepared
from recsys.ranking.askers import Floats, Rows
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.ranking.lists import (
    K,
    Lists,
    StandingAt,
    histories_of,
    hits_of,
    lists_of,
    moments_of,
    pairs_of,
    training_catalog,
    training_standing,
)

log = structlog.get_logger()

GROUPS = {"freshness": ("freshness", "dated"), "ctr": ("ctr", "ctr_known")}
"""Features that a ranker goes by only where they make it better, in the order in which they are tried."""
PLAIN = tuple(name for name in FEATURES if not any(name in group for group in GROUPS.values()))


def learn_ranker(
    prepared: Prepared,
    item_vectors: Floats,
    user_embeddings: Floats,
    config: RankingConfig,
    *,
    seed: int,
    standing_at: StandingAt | None = None,
) -> tuple[LinearRanker | None, dict[str, Any]]:
    """A ranker that beats the order by taste and prior, where one is found, and how it was judged.

    Args:
        prepared: the shop and its split.
        item_vectors: float32 [n_items, dim + 1]; as in a bundle.
        user_embeddings: float32 [n_users, dim].
        config: how much is learned from.
        seed: of which users are on which side.
        standing_at: what was known of how items do and since when they are there, at any moment; None: nobody knows
            how they do.

    Returns:
        None where it is not to be used; and the report: users "trained_on", what "valid" and "test" users say (see
        `judged`), the weights, the "groups" that were tried with what validation says of each, and whether it was
        "adopted". Only {"adopted": False} where there is too little to learn from.
    """
    valid, test = (pairs_of(side) for side in (prepared.split.valid, prepared.split.test))
    users = np.random.default_rng(seed).permutation(sorted(valid))
    half = min(len(users) // 2, config.users)
    if not config.learn or half < config.least:
        return None, {"adopted": False}
    catalog = training_catalog(prepared, item_vectors)
    histories = histories_of(prepared.split.train)
    first = moments_of(prepared.split.valid, prepared.split.test)
    last = moments_of(prepared.split.test)
    told = training_standing(prepared)
    then = standing_at or (lambda _: told)

    def listed(some: Sequence[int], held: dict[int, Rows], *, but: dict[int, Rows]) -> Lists:
        return lists_of(
            catalog,
            user_embeddings,
            histories,
            some,
            held,
            but=but,
            moments=first if held is valid else last,
            standing_at=then,
        )

    trained, others = (
        listed(users[:half].tolist(), valid, but={}),
        listed(users[half : 2 * half].tolist(), valid, but={}),
    )
    if not any(liked.any() for liked in trained.liked):
        return None, {"adopted": False}

    def learned(by: Sequence[str]) -> LinearRanker:
        return LinearRanker(*fit_linear(trained.features, trained.liked, penalty=config.penalty, by=by), {})

    best, by = learned(PLAIN), PLAIN
    adopted = _better(judged(others, others.before, _scores(best, others), seed=seed))
    groups: dict[str, Any] = {}
    for name, group in GROUPS.items():
        if not _tell(trained, group):
            continue  # the shop does not know it, or of all items alike
        richer = learned((*by, *group))
        over = _scores(best, others) if adopted else others.before
        gain = judged(others, over, _scores(richer, others), seed=seed)
        groups[name] = {**gain, "adopted": _better(gain)}
        if _better(gain):
            best, by, adopted = richer, (*by, *group), True
    report: dict[str, Any] = {"weights": dict(zip(FEATURES, best.weights.tolist(), strict=True)), "groups": groups}
    report |= {"trained_on": half, "valid": judged(others, others.before, _scores(best, others), seed=seed)}
    tested = listed(sorted(test)[:: max(1, len(test) // config.users)], test, but=valid)
    report |= {"test": judged(tested, tested.before, _scores(best, tested), seed=seed), "adopted": adopted}
    log.info(
        "ranker learned",
        adopted=adopted,
        groups=[name for name, one in groups.items() if one["adopted"]],
        valid=report["valid"]["ndcg@20"],
        test=report["test"]["ndcg@20"],
    )
    return LinearRanker(best.mean, best.scale, best.weights, report) if adopted else None, report


def judged(lists: Lists, before: Sequence[Floats], now: Sequence[Floats], *, seed: int) -> dict[str, Any]:
    """Recall and ndcg @20 of two orders of users' candidates, and their difference with its 95% interval.

    Args:
        lists: the candidates.
        before: scores of each user's candidates.
        now: likewise, by the other order.
        seed: of the resamples.
    """
    told: dict[str, Any] = {"users": len(lists.features)}
    hits = [
        [hits_of(score, liked) for score, liked in zip(scores, lists.liked, strict=True)] for scores in (before, now)
    ]
    for name, metric in (("recall@20", metrics.recall), ("ndcg@20", metrics.ndcg)):
        if not lists.features:
            told[name] = dict.fromkeys(("before", "ranker", "difference_low", "difference_high"), float("nan"))
            continue  # nobody to ask
        old, new = (metric(np.stack(of), lists.n_held, K) for of in hits)
        low, high = interval(bootstrap_means((new - old)[:, None], samples=500, seed=seed)[:, 0])
        told[name] = {"before": float(old.mean()), "ranker": float(new.mean())}
        told[name] |= {"difference_low": low, "difference_high": high}
    return told


def _better(told: dict[str, Any]) -> bool:
    return bool(told["ndcg@20"]["difference_low"] > 0)


def _scores(ranker: LinearRanker, lists: Lists) -> list[Floats]:
    return [ranker.score(of) for of in lists.features]


def _tell(lists: Lists, group: Sequence[str]) -> bool:
    """Whether any of these features differs between candidates."""
    columns = [FEATURES.index(name) for name in group]
    return any(
        np.ptp(known) > 0
        for of in lists.features
        for column in columns
        if len(known := of[np.isfinite(of[:, column]), column])
    )
