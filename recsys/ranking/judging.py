"""How much better one order of candidates is than another, and how sure that is: over users, and over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys import metrics
from recsys.bootstrap import bootstrap_means, interval
from recsys.ranking.askers import Floats
from recsys.ranking.lists import K, Lists, hits_of

SAMPLES = 500
Compared = tuple[Lists, Sequence[Floats], Sequence[Floats]]
"""Candidates, and the scores of each user's by the one order and by the other."""


def judged(lists: Lists, before: Sequence[Floats], now: Sequence[Floats], *, seed: int) -> dict[str, Any]:
    """Recall and ndcg @20 of two orders of users' candidates, and their difference with its 95% interval over users.

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
        low, high = interval(bootstrap_means((new - old)[:, None], samples=SAMPLES, seed=seed)[:, 0])
        told[name] = {"before": float(old.mean()), "ranker": float(new.mean())}
        told[name] |= {"difference_low": low, "difference_high": high}
    return told


def judged_over_items(parts: Sequence[Compared], n_items: int, *, seed: int) -> dict[str, Any]:
    """Mean ndcg@20 of two orders, and their difference with its 95% interval over the items that are held out.

    A user's ndcg is the sum of what each of their held-out items gains; so the mean is one over the items, each
    weighing as much as it is held out, and these are drawn again in place of the users. A gain that comes of a few
    items is then as unsure as it is.

    Args:
        parts: candidates among some of the items, and their scores.
        n_items: of the catalog.
        seed: of the resamples.
    """
    held = np.zeros(n_items)  # of each item, how much of the users' lists is its own
    gained = np.zeros((2, n_items))
    discount = 1.0 / np.log2(np.arange(2, K + 2))
    for lists, *orders in parts:
        for user, wanted in enumerate(lists.held):
            if not len(wanted):
                continue
            held[wanted] += 1 / len(wanted)
            ideal = discount[: len(wanted)].sum()
            for gain, order in zip(gained, orders, strict=True):
                first = np.argsort(-order[user], kind="stable")[:K]
                share = lists.liked[user][first] * discount[: len(first)] / ideal
                np.add.at(gain, lists.rows[user][first], share)
    there = np.flatnonzero(held)
    columns = np.column_stack([held, gained[1] - gained[0]])[there]
    means: NDArray[np.float64] = bootstrap_means(columns, samples=SAMPLES, seed=seed)
    low, high = interval(means[:, 1] / means[:, 0])
    before, ranker = (gained.sum(axis=1) / held.sum()).tolist() if len(there) else (float("nan"), float("nan"))
    told = {"before": before, "ranker": ranker, "difference_low": low, "difference_high": high}
    return {"items": len(there), "ndcg@20": told}
