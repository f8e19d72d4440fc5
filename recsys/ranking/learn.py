"""Learns a ranker from what users went on to like, and keeps it only if it beats the order it would replace.

Users with validation pairs are parted in two. The ranker is trained on one half, with features that know the training
side alone, and judged on the other, against the order by taste and prior. It is adopted where its ndcg@20 is higher
beyond the doubt of a 95% interval over those users, and likewise, over the items, where these are new to it, too: each
half of the items in the order of a ranker that was trained on the other half. Where what is held out is a few items,
such as those that came last, a ranker could else be adopted for what just these have in common. What moves with time
(`GROUPS`) must earn its place in the same way, group by group, over the best without it. Test pairs are looked at once,
for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import structlog

from recsys.prepare import Prepared
from recsys.ranking.askers import Floats, Rows
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES
from recsys.ranking.judging import judged, judged_over_items
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.ranking.lists import (
    Lists,
    StandingAt,
    histories_of,
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
        `recsys/ranking/judging.py`), the weights, the "groups" that were tried with what validation says of each, and
        whether it was "adopted". Only {"adopted": False} where there is too little to learn from.
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
    half_of = np.random.default_rng([seed, 1]).permutation(len(item_vectors)) % 2 == 0
    learners = [trained, trained.among(~half_of), trained.among(half_of)]
    asked = [others, others.among(half_of), others.among(~half_of)]
    if not all(any(liked.any() for liked in lists.liked) for lists in learners):
        return None, {"adopted": False}

    def learned(by: Sequence[str]) -> list[LinearRanker]:
        """By all items, and by each half of them."""
        return [
            LinearRanker(*fit_linear(lists.features, lists.liked, penalty=config.penalty, by=by), {})
            for lists in learners
        ]

    def gain(over: Sequence[LinearRanker] | None, now: Sequence[LinearRanker]) -> dict[str, Any]:
        """On users, and on users and items, that the rankers were not trained on."""
        befores = [lists.before for lists in asked] if over is None else list(map(_scores, over, asked))
        whole, *parts = zip(asked, befores, map(_scores, now, asked), strict=True)
        return {**judged(*whole, seed=seed), "unseen_items": judged_over_items(parts, len(half_of), seed=seed)}

    best, by = learned(PLAIN), PLAIN
    adopted = _better(gain(None, best))
    groups: dict[str, Any] = {}
    for name, group in GROUPS.items():
        if not _tell(trained, group):
            continue  # the shop does not know it, or of all items alike
        richer = learned((*by, *group))
        more = gain(best if adopted else None, richer)
        groups[name] = {**more, "adopted": _better(more)}
        if _better(more):
            best, by, adopted = richer, (*by, *group), True
    ranker = best[0]
    report: dict[str, Any] = {"weights": dict(zip(FEATURES, ranker.weights.tolist(), strict=True)), "groups": groups}
    report |= {"trained_on": half, "valid": gain(None, best)}
    tested = listed(sorted(test)[:: max(1, len(test) // config.users)], test, but=valid)
    report |= {"test": judged(tested, tested.before, _scores(ranker, tested), seed=seed), "adopted": adopted}
    log.info(
        "ranker learned",
        adopted=adopted,
        groups=[name for name, one in groups.items() if one["adopted"]],
        valid=report["valid"]["ndcg@20"],
        test=report["test"]["ndcg@20"],
    )
    return LinearRanker(ranker.mean, ranker.scale, ranker.weights, report) if adopted else None, report


def _better(told: dict[str, Any]) -> bool:
    return all(one["ndcg@20"]["difference_low"] > 0 for one in (told, told["unseen_items"]))


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
