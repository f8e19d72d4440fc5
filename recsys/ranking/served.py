"""The learned ranker as a model among others: what a feed shows, candidates in its order and the rest behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation import Side
from recsys.index import ExactIndex
from recsys.prepare import Prepared
from recsys.ranking.askers import Asker, Block, Floats, Rows
from recsys.ranking.features import Catalog, features
from recsys.ranking.gather import gather
from recsys.ranking.linear import LinearRanker
from recsys.ranking.lists import StandingAt, histories_of, moments_of, training_catalog


@dataclass(frozen=True, eq=False)
class ServedScorer:
    """Candidates by the ranker above everything else by taste and prior, asked at each user's moment.

    Args:
        prepared: the shop and its split; the training side alone is known.
        item_vectors: float32 [n_items, dim + 1]; as in a bundle.
        user_embeddings: float32 [n_users, dim].
        ranker: what a feed is ordered by.
        side: whose users are asked; on test, what they liked in between is hidden from the candidates.
        standing_at: what was known of the items when.
        params: what was chosen for it.
        fit_s: seconds spent on fitting.
    """

    prepared: Prepared
    item_vectors: Floats
    user_embeddings: Floats
    ranker: LinearRanker
    side: Side
    standing_at: StandingAt
    params: Mapping[str, Any] = field(default_factory=dict)
    fit_s: float = float("nan")
    name: str = "served"

    def score(self, user_idx: NDArray[np.int64]) -> Floats:
        """As `Scorer.score`; a user without a history has taste and prior alone, as in the service."""
        catalog, index, moments = self._catalog, self._index, self._moments
        train, between = self._histories
        ones = np.ones((len(user_idx), 1), dtype=np.float32)
        scores: Floats = np.append(self.user_embeddings[user_idx], ones, axis=1) @ self.item_vectors.T
        scores -= scores.max(axis=1, keepdims=True) + 1  # whatever is no candidate stands below 0
        nothing = np.zeros(0, dtype=np.int64)
        asked = [(moments.get(user, 0.0), place, user) for place, user in enumerate(user_idx.tolist())]
        for moment, place, user in sorted(asked):  # what was known is worked out anew for every moment
            history = train.get(user, nothing)
            if not len(history):
                continue
            hidden = np.zeros(len(self.item_vectors), dtype=np.bool_)
            hidden[history] = hidden[between.get(user, nothing)] = True
            block = Block.of(Asker(np.append(self.user_embeddings[user], np.float32(1)), history, moment))
            found = gather(catalog, index, block, [hidden])
            known = features(catalog, block, found.rows, found.start, standing=self.standing_at(moment))
            ranked = self.ranker.score(known)
            scores[place, found.rows] = ranked - ranked.min(initial=0)
        return scores

    @cached_property
    def _catalog(self) -> Catalog:
        return training_catalog(self.prepared, self.item_vectors)

    @cached_property
    def _index(self) -> ExactIndex:
        return ExactIndex(self.item_vectors)

    @cached_property
    def _moments(self) -> dict[int, float]:
        return moments_of(getattr(self.prepared.split, self.side))

    @cached_property
    def _histories(self) -> tuple[dict[int, Rows], dict[int, Rows]]:
        split = self.prepared.split
        return histories_of(split.train), histories_of(split.valid) if self.side == "test" else {}


def served_by(
    ranker: LinearRanker | None,
    prepared: Prepared,
    item_vectors: Floats,
    user_embeddings: Floats,
    standing_at: StandingAt,
) -> dict[Side, ServedScorer]:
    """What feeds show on each side of the split; {} where no ranker orders them."""
    if ranker is None:
        return {}
    sides: tuple[Side, Side] = ("valid", "test")
    return {side: ServedScorer(prepared, item_vectors, user_embeddings, ranker, side, standing_at) for side in sides}
