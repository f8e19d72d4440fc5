"""Answers from a bundle alone: similar items and feeds, never empty, each saying where it came from and why.

It needs numpy and, for large catalogs, faiss; the service runs it with Redis, and without when Redis is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from features.section import Section
from recsys.bundle import Bundle
from recsys.candidates import Neighbors, Personalized, Popular, PopularInCategory, Query, Tier, climb_down
from recsys.explanation import Explainer
from recsys.index import ExactIndex, ItemIndex, load_index
from recsys.live_user import LiveConfig, live_vector, recent_weights
from recsys.recommendation import Recommendation, UserState


class RecommenderConfig(Section):
    """How answers are put together."""

    hide_seen: bool = True
    """Leave out what the user had already met when the bundle was made."""

    max_recent: PositiveInt = 50
    """The newest so many views shape the feed; all of them are left out of it."""

    live: LiveConfig = LiveConfig()
    """How fast recent views take over."""


@dataclass(frozen=True, eq=False)
class _Moment:
    """A user state in row numbers."""

    viewed: NDArray[np.int64]
    hidden_seen: NDArray[np.int64]
    history: NDArray[np.int64]
    pull: NDArray[np.float32]
    query: Query


class BundleRecommender:
    """A `Recommender` over an open bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        config: how answers are put together.
    """

    def __init__(self, bundle: Bundle, config: RecommenderConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config or RecommenderConfig()
        self.explainer = Explainer(bundle)
        self._unavailable = ~bundle.available
        voiceless = np.logical_not(np.any(bundle.item_embeddings, axis=1))
        published = Neighbors("published", [bundle.similar])
        content = Neighbors("content", list(bundle.neighbors.values()))
        lower: tuple[Tier, ...] = (published, content, PopularInCategory(bundle), Popular(bundle.popularity))
        self._similar_tiers = lower
        self._feed_tiers: tuple[Tier, ...] = (Personalized(_index(bundle), voiceless), *lower)

    def similar_items(self, item_id: str, k: int, exclude: Collection[str] = ()) -> list[Recommendation]:
        """At most k items like this one that can be bought, best first, with how they are alike.

        Args:
            item_id: the item of the page; it is never in the answer.
            k: how many, >= 1.
            exclude: ids not to be shown; unknown ones are ignored.

        Raises:
            KeyError: the item is unknown.
            ValueError: k < 1.
        """
        _check_k(k)
        page = self.bundle.items.idx(item_id)
        hidden = self._unavailable.copy()
        hidden[self._rows(exclude)] = True
        hidden[page] = True
        query = Query(hidden, None, np.array([page]), np.ones(1, dtype=np.float32))
        return [
            Recommendation(self.bundle.items[item], score, source, self.explainer.similar(page, item, source))
            for source, found in climb_down(self._similar_tiers, query, k)
            for item, score in zip(found.idx.tolist(), found.score.tolist(), strict=True)
        ]

    def recommend(self, user: UserState, k: int, exclude: Collection[str] = ()) -> list[Recommendation]:
        """At most k items for this user, best first.

        Left out are `exclude`, what was just viewed, what the user had seen, and what cannot be bought. Only where that
        leaves nothing at all are the seen, then the viewed, then the unavailable items let back in; `exclude` never is.

        Args:
            user: what is known of the user now; ids the bundle does not know are no error.
            k: how many, >= 1.
            exclude: ids not to be shown, such as those already on the page.

        Raises:
            ValueError: k < 1.
        """
        _check_k(k)
        moment = self._moment(user)
        excluded = self._rows(exclude)
        for hidden in self._relaxed(moment, excluded):
            if hidden.all():
                continue
            return self._answer(moment, replace(moment.query, hidden=hidden), k)
        return []

    def user_vector(self, user: UserState) -> NDArray[np.float32] | None:
        """What is known of a user now as a vector, float32 [dim], as `Bundle.user_embeddings`; None for a stranger."""
        vector = self._moment(user).query.vector
        return None if vector is None else vector[:-1]

    def _moment(self, user: UserState) -> _Moment:
        bundle, live = self.bundle, self.config.live
        user_idx = -1 if user.user_id is None else int(bundle.users.idxs([user.user_id])[0])
        trained = bundle.user_embeddings[user_idx] if user_idx >= 0 else None
        past = bundle.seen(user_idx) if user_idx >= 0 else np.zeros(0, dtype=np.int64)
        viewed = bundle.items.idxs(user.recent_items)
        newest = {item: place for place, item in enumerate(viewed.tolist()) if item >= 0}
        places = sorted(newest.values())[-self.config.max_recent :]
        recent = viewed[places]
        ages_s = tuple(user.recent_ages_s[place] for place in places) if user.recent_ages_s else ()
        weights = recent_weights(len(recent), ages_s, live)
        blend = live_vector(trained, bundle.item_embeddings[recent], weights, live)
        pull = np.zeros(len(recent), dtype=np.float32) if blend is None else blend.recent_pull
        kept = 0.0 if blend is None else blend.trained_share
        before = past[~np.isin(past, recent)]
        anchors, anchor_weights = recent, weights
        if not len(recent):
            anchors = past[-self.config.max_recent :]
            anchor_weights = np.ones(len(anchors), dtype=np.float32)
        own = self._rows(user.seen)
        return _Moment(
            viewed=viewed[viewed >= 0],
            hidden_seen=np.concatenate([past, own]) if self.config.hide_seen else own,
            history=np.concatenate([recent, before]),
            pull=np.concatenate([pull, np.full(len(before), kept / max(1, len(before)), dtype=np.float32)]),
            query=Query(
                self._unavailable,
                None if blend is None else _with_prior(blend.vector),
                anchors,
                anchor_weights,
                user.category,
            ),
        )

    def _relaxed(self, moment: _Moment, excluded: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        """Masks of hidden items, strictest first."""
        for layers in (
            (moment.hidden_seen, moment.viewed, self._unavailable),
            (moment.viewed, self._unavailable),
            (self._unavailable,),
            (),
        ):
            hidden = np.zeros(len(self.bundle), dtype=np.bool_)
            for rows in (*layers, excluded):
                hidden[rows] = True
            yield hidden

    def _answer(self, moment: _Moment, query: Query, k: int) -> list[Recommendation]:
        recent = set(moment.viewed.tolist())
        answer = []
        for source, found in climb_down(self._feed_tiers, query, k):
            anchors = self._strongest(moment, found.idx) if source == "personalized" else found.anchor
            for item, score, anchor in zip(found.idx.tolist(), found.score.tolist(), anchors.tolist(), strict=True):
                reasons = self.explainer.feed(
                    item, source, anchor_idx=anchor, viewed=anchor in recent, category=query.category
                )
                answer.append(Recommendation(self.bundle.items[item], score, source, reasons))
        return answer

    def _strongest(self, moment: _Moment, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each found item the item of the history that adds most to its score, -1 where none adds anything."""
        if not len(moment.history):
            return np.full(len(found), -1, dtype=np.int64)
        vectors = self.bundle.item_embeddings
        added = np.einsum("nd,hd->nh", vectors[found], vectors[moment.history]) * moment.pull
        best = added.argmax(axis=1)
        return np.where(added[np.arange(len(found)), best] > 0, moment.history[best], -1)

    def _rows(self, item_ids: Collection[str]) -> NDArray[np.int64]:
        rows = self.bundle.items.idxs(item_ids)
        return rows[rows >= 0]


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be >= 1, it is {k}")


def _with_prior(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A user vector that meets `Bundle.item_vectors`: the items' priors count once."""
    return np.append(vector, np.float32(1))


def _index(bundle: Bundle) -> ItemIndex:
    saved = bundle.index_path
    return ExactIndex(bundle.item_vectors) if saved is None else load_index(saved, bundle.item_vectors)
