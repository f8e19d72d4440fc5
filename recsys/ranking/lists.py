"""What rankers are trained and judged on: candidates, found and described by what the training side alone knows.

What moves with time is taken as of a user's own moment, that of the first of their held-out pairs: a click that came
of showing it, or an item that came later, is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.interactions import Interactions
from recsys.index import ExactIndex
from recsys.prepare import Prepared
from recsys.ranking.askers import Asker, Block, Floats, Rows
from recsys.ranking.features import Catalog, features
from recsys.ranking.gather import gather
from recsys.ranking.standing import Standing, came
from recsys.similar import co_liked

T = TypeVar("T", bound=np.generic)
K = 20
"""Lists are judged by their first 20."""


StandingAt = Callable[[float], Standing]
"""UTC seconds -> what was known of the items then."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Users' candidates.

    Args:
        rows: int64 [n] a user; the candidates.
        features: float32 [n, len(FEATURES)] a user.
        liked: bool [n] a user; what they went on to like.
        before: float32 [n] a user; the score by taste and prior.
        held: int64 [n_held] a user; all that they went on to like.
    """

    rows: list[Rows]
    features: list[Floats]
    liked: list[NDArray[np.bool_]]
    before: list[Floats]
    held: list[Rows]

    @property
    def n_held(self) -> NDArray[np.int64]:
        """How much each went on to like in all, int64 [n_users]."""
        return np.array([len(rows) for rows in self.held], dtype=np.int64)

    def among(self, items: NDArray[np.bool_]) -> Lists:
        """The same as if there were some of the items alone.

        Args:
            items: bool [n_items].
        """
        there = [items[rows] for rows in self.rows]

        def kept(lists: list[NDArray[T]]) -> list[NDArray[T]]:
            return [of[keep] for of, keep in zip(lists, there, strict=True)]

        return Lists(
            kept(self.rows),
            kept(self.features),
            kept(self.liked),
            kept(self.before),
            [rows[items[rows]] for rows in self.held],
        )


def training_catalog(prepared: Prepared, item_vectors: Floats) -> Catalog:
    """What the training side knows of the items."""
    likes = prepared.split.train.matrix(binary=True)
    co_idx, co_count = co_liked(likes)
    popularity = np.asarray(likes.sum(axis=0), dtype=np.float32).ravel()
    text, image = prepared.vectors.text.vectors, prepared.vectors.image.vectors
    alike = [near.idx for near in prepared.neighbors.values()]

    return Catalog(
        item_vectors=item_vectors,
        text=lambda rows: text[rows],
        image=lambda rows: image[rows],
        popularity=popularity,
        together=lambda rows: (co_idx[rows], co_count[rows]),
        alike=lambda rows, depth: [idx[rows, :depth] for idx in alike],
        prices=prepared.shop.catalog.price.astype(np.float32),
        match_scores=prepared.scores.score,
        newcomers=np.flatnonzero(popularity == 0),
    )


def training_standing(prepared: Prepared) -> Standing:
    """When each item came, as far as the training side knows."""
    shop = prepared.shop.catalog
    return Standing.since(came(len(shop.items), shop.attributes, prepared.split.train))


def lists_of(
    catalog: Catalog,
    user_embeddings: Floats,
    histories: Mapping[int, Rows],
    users: Sequence[int],
    held: Mapping[int, Rows],
    *,
    but: Mapping[int, Rows],
    moments: Mapping[int, float],
    standing_at: StandingAt,
) -> Lists:
    """Candidates of users, without their training items and those in `but`.

    Args:
        catalog: what the training side knows.
        user_embeddings: float32 [n_users, dim].
        histories: what each user met, newest last.
        users: whose candidates.
        held: what each of them went on to like.
        but: further rows a user is not shown.
        moments: when each is asked, UTC seconds; 0 where nobody knows.
        standing_at: what was known of the items when.
    """
    index = ExactIndex(catalog.item_vectors)
    by_user: dict[int, tuple[Rows, Floats, NDArray[np.bool_], Floats]] = {}
    nothing = np.zeros(0, dtype=np.int64)
    for user in sorted(users, key=lambda user: moments[user]):
        vector, history = user_embeddings[user], histories.get(user, nothing)
        hidden = np.zeros(len(catalog.item_vectors), dtype=np.bool_)
        hidden[history] = hidden[but.get(user, nothing)] = True
        block = Block.of(Asker(np.append(vector, np.float32(1)), history, moments[user]))
        found = gather(catalog, index, block, [hidden])
        by_user[user] = (
            found.rows,
            features(catalog, block, found.rows, found.start, standing=standing_at(moments[user])),
            np.isin(found.rows, held[user]),
            catalog.item_vectors[found.rows] @ np.append(vector, np.float32(1)),
        )
    lists = [by_user[user] for user in users]
    return Lists(
        [one[0] for one in lists],
        [one[1] for one in lists],
        [one[2] for one in lists],
        [one[3] for one in lists],
        [held[user] for user in users],
    )


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


def moments_of(*sides: Interactions) -> dict[int, float]:
    """The moment of each user's first held-out pair, UTC seconds; 0, before everything, where the shop has no times."""
    moments: dict[int, float] = {}
    for side in sides:
        times = np.zeros(len(side)) if side.timestamp is None else side.timestamp
        for user, time in zip(side.user_idx.tolist(), times.tolist(), strict=True):
            moments[user] = min(moments.get(user, np.inf), time)
    return moments


def histories_of(events: Interactions) -> dict[int, Rows]:
    """What each user met, newest last."""
    indptr, rows = events.met()
    return {
        user: rows[indptr[user] : indptr[user + 1]].astype(np.int64)
        for user in np.flatnonzero(np.diff(indptr)).tolist()
    }
