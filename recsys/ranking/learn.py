"""Learns a ranker from what users went on to like, and keeps it only if it beats the order it would replace.

Users with validation pairs are parted in two. The ranker is trained on one half, with features that know the training
side alone, and judged on the other, against the order by taste and prior. It is adopted where its ndcg@20 is higher
beyond the doubt of a 95% interval over those users. Test pairs are looked at once, for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from features.interactions import Interactions
from recsys import metrics
from recsys.bootstrap import bootstrap_means, interval
from recsys.index import ExactIndex
from recsys.prepare import Prepared
from recsys.ranking.config import RankingConfig
from recsys.ranking.features import FEATURES, Catalog, Floats, Rows, features
from recsys.ranking.gather import gather
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.similar import co_liked

log = structlog.get_logger()
K = 20


@dataclass(frozen=True, eq=False)
class _Lists:
    """Users' candidates: features, what they went on to like, the old score, and how much they liked in all."""

    features: list[Floats]
    liked: list[NDArray[np.bool_]]
    before: list[Floats]
    n_held: NDArray[np.int64]


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
    valid, test = (_pairs(side) for side in (prepared.split.valid, prepared.split.test))
    users = np.random.default_rng(seed).permutation(sorted(valid))
    half = min(len(users) // 2, config.users)
    if not config.learn or half < config.least:
        return None, {"adopted": False}
    catalog = training_catalog(prepared, item_vectors)
    histories = _histories(prepared.split.train)

    def listed(some: Sequence[int], held: dict[int, Rows], *, but: dict[int, Rows]) -> _Lists:
        return _lists(catalog, user_embeddings, histories, some, held, but=but)

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


def judged(ranker: LinearRanker, lists: _Lists, *, seed: int) -> dict[str, Any]:
    """Recall and ndcg @20 of the order before and of the ranker's, and their difference with its 95% interval."""
    told: dict[str, Any] = {"users": len(lists.features)}
    hits = [_hits(before, liked) for before, liked in zip(lists.before, lists.liked, strict=True)]
    ranked = [ranker.score(of) for of in lists.features]
    now = [_hits(score, liked) for score, liked in zip(ranked, lists.liked, strict=True)]
    for name, metric in (("recall@20", metrics.recall), ("ndcg@20", metrics.ndcg)):
        if not hits:
            told[name] = dict.fromkeys(("before", "ranker", "difference_low", "difference_high"), float("nan"))
            continue  # nobody to ask
        old, new = (metric(np.stack(of), lists.n_held, K) for of in (hits, now))
        low, high = interval(bootstrap_means((new - old)[:, None], samples=500, seed=seed)[:, 0])
        told[name] = {"before": float(old.mean()), "ranker": float(new.mean())}
        told[name] |= {"difference_low": low, "difference_high": high}
    return told


def training_catalog(prepared: Prepared, item_vectors: Floats) -> Catalog:
    """What the training side knows of the items."""
    likes = prepared.split.train.matrix(binary=True)
    co_idx, co_count = co_liked(likes)
    popularity = np.asarray(likes.sum(axis=0), dtype=np.float32).ravel()
    text, image = prepared.vectors.text.vectors, prepared.vectors.image.vectors
    alike = [near.idx for near in prepared.neighbors.values()]

    def together(row: int) -> tuple[Rows, Rows]:
        known = co_idx[row] >= 0
        return co_idx[row][known].astype(np.int64), co_count[row][known].astype(np.int64)

    return Catalog(
        item_vectors=item_vectors,
        text=lambda rows: text[rows],
        image=lambda rows: image[rows],
        popularity=popularity,
        together=together,
        alike=lambda row: [idx[row][idx[row] >= 0].astype(np.int64) for idx in alike],
        prices=prepared.shop.catalog.price.astype(np.float32),
        match_scores=prepared.scores.score,
        newcomers=np.flatnonzero(popularity == 0),
    )


def _lists(
    catalog: Catalog,
    user_embeddings: Floats,
    histories: dict[int, Rows],
    users: Sequence[int],
    held: dict[int, Rows],
    *,
    but: dict[int, Rows],
) -> _Lists:
    """Candidates of users, without their training items and those in `but`."""
    index = ExactIndex(catalog.item_vectors)
    found = _Lists([], [], [], np.array([len(held[user]) for user in users], dtype=np.int64))
    nothing = np.zeros(0, dtype=np.int64)
    for user in users:
        vector, history = user_embeddings[user], histories.get(user, nothing)
        hidden = np.zeros(len(catalog.item_vectors), dtype=np.bool_)
        hidden[history] = hidden[but.get(user, nothing)] = True
        rows = gather(catalog, index, vector, history, hidden).rows
        found.features.append(features(catalog, vector, history, rows))
        found.liked.append(np.isin(rows, held[user]))
        found.before.append(catalog.item_vectors[rows] @ np.append(vector, np.float32(1)))
    return found


def _hits(scores: Floats, liked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each of the first 20 is liked, bool [20]."""
    best = liked[np.argsort(-scores, kind="stable")[:K]]
    return np.pad(best, (0, K - len(best)))


def _pairs(side: Interactions) -> dict[int, Rows]:
    pairs = side.matrix(binary=True).tocsr()
    return {
        user: pairs.indices[pairs.indptr[user] : pairs.indptr[user + 1]].astype(np.int64)
        for user in np.flatnonzero(np.diff(pairs.indptr)).tolist()
    }


def _histories(events: Interactions) -> dict[int, Rows]:
    indptr, rows = events.met()
    return {
        user: rows[indptr[user] : indptr[user + 1]].astype(np.int64)
        for user in np.flatnonzero(np.diff(indptr)).tolist()
    }
