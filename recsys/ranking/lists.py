"""What rankers are trained and judged on: candidates, found and described by what the training side alone knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.interactions import Interactions
from recsys.index import ExactIndex
from recsys.prepare import Prepared
from recsys.ranking.features import Catalog, Floats, Rows, features
from recsys.ranking.gather import gather
from recsys.similar import co_liked

K = 20
"""Lists are judged by their first 20."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Users' candidates.

    Args:
        features: float32 [n, len(FEATURES)] a user.
        liked: bool [n] a user; what they went on to like.
        before: float32 [n] a user; the score by taste and prior.
        n_held: int64 [n_users]; how much each went on to like in all.
    """

    features: list[Floats]
    liked: list[NDArray[np.bool_]]
    before: list[Floats]
    n_held: NDArray[np.int64]


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


def lists_of(
    catalog: Catalog,
    user_embeddings: Floats,
    histories: Mapping[int, Rows],
    users: Sequence[int],
    held: Mapping[int, Rows],
    *,
    but: Mapping[int, Rows],
) -> Lists:
    """Candidates of users, without their training items and those in `but`."""
    index = ExactIndex(catalog.item_vectors)
    found = Lists([], [], [], np.array([len(held[user]) for user in users], dtype=np.int64))
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


def hits_of(scores: Floats, liked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each of the first 20 is liked, bool [20]."""
    best = liked[np.argsort(-scores, kind="stable")[:K]]
    return np.pad(best, (0, K - len(best)))


def pairs_of(side: Interactions) -> dict[int, Rows]:
    """Items of each user that has any, rising."""
    pairs = side.matrix(binary=True).tocsr()
    return {
        user: pairs.indices[pairs.indptr[user] : pairs.indptr[user + 1]].astype(np.int64)
        for user in np.flatnonzero(np.diff(pairs.indptr)).tolist()
    }


def histories_of(events: Interactions) -> dict[int, Rows]:
    """What each user met, newest last."""
    indptr, rows = events.met()
    return {
        user: rows[indptr[user] : indptr[user + 1]].astype(np.int64)
        for user in np.flatnonzero(np.diff(indptr)).tolist()
    }
