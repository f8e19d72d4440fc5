"""The candidates of an answer: found in a bundle tier by tier, in the order of its learned ranker where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.candidates import Neighbors, Personalized, Popular, PopularInCategory, Tier, climb_down
from recsys.index import ExactIndex, ItemIndex, dot_products, load_index
from recsys.pipeline.likeness import Likeness
from recsys.pipeline.moment import Moment, hiding
from recsys.pipeline.ranked import Ranked
from recsys.ranking.askers import Asker, Block, falling
from recsys.ranking.features import FEATURES, Catalog, features
from recsys.ranking.gather import gather
from recsys.search.spaces import Spaces


@dataclass(frozen=True, eq=False)
class Sought:
    """Candidates that are looked for.

    Args:
        moment: the request.
        hidden: bool [n_items]; not to be found.
        n: how many at most.
    """

    moment: Moment
    hidden: NDArray[np.bool_]
    n: int


class Retriever:
    """Finds candidates; safe to share between threads.

    Args:
        bundle: what they are found in.
        spaces: the vectors of words and pictures with their indexes, where they are open already.
        index: of the item vectors, where it is open already.
    """

    def __init__(self, bundle: Bundle, *, spaces: Spaces | None = None, index: ItemIndex | None = None) -> None:
        self.bundle = bundle
        self.likeness = Likeness(bundle, spaces)
        self.index = index_of(bundle) if index is None else index
        self.standing = bundle.standing
        voiceless = np.logical_not(np.any(bundle.item_embeddings, axis=1))
        published = Neighbors("published", [bundle.similar])
        content = Neighbors("content", list(bundle.neighbors.values()))
        lower: tuple[Tier, ...] = (published, content, PopularInCategory(bundle), Popular(bundle.popularity))
        self._similar_tiers = lower
        self._feed_tiers: tuple[Tier, ...] = (Personalized(self.index, voiceless), *lower)

    def candidates(self, moments: Sequence[Moment], n: Sequence[int]) -> list[Ranked]:
        """At most n candidates for each of some requests, best first.

        See `Moment.relaxed` for what is hidden, and what is let back in where that leaves nothing. Feeds go through the
        learned ranker as one block; what was found for a moment before is not looked for again.

        Args:
            moments: the requests.
            n: how many for each.
        """
        standing = self.standing
        found = [moment.found(most, standing) for moment, most in zip(moments, n, strict=True)]
        asked = {
            place: Sought(moments[place], hidden, n[place])
            for place, known in enumerate(found)
            if known is None
            and (hidden := next((hidden for hidden in moments[place].relaxed() if not hidden.all()), None)) is not None
        }
        by_ranker = [place for place, one in asked.items() if self.ranks(one.moment)]
        ordered = self._learned([asked[place] for place in by_ranker]) if by_ranker else []
        learned = dict(zip(by_ranker, ordered, strict=True))
        for place, one in asked.items():
            found[place] = ranked = self._found(one, learned.get(place, Ranked.nothing()))
            one.moment.keep(ranked, one.n, standing)
        return [Ranked.nothing() if known is None else known for known in found]

    def _found(self, sought: Sought, learned: Ranked) -> Ranked:
        """At most n candidates: those that the ranker has ordered, where it has, then from the sources that the request
        asks for and the ladder below them.
        """
        moment, hidden, n = sought.moment, sought.hidden, sought.n
        above, weights = learned, moment.request.weights
        if moment.page >= 0 and weights is not None:
            above = self.likeness.ranked(moment.page, weights, hidden, n)
        if len(above) == n:
            return above
        if len(above):
            hidden = hidden.copy()
            hidden[above.rows] = True
        tiers = self._feed_tiers if moment.page < 0 else self._similar_tiers
        return above.above(Ranked.of(climb_down(tiers, hiding(moment.query, hidden), n - len(above))))

    def ranks(self, moment: Moment) -> bool:
        """Whether the bundle's learned ranker orders the candidates: of a feed whose user is known by something."""
        by_something = moment.query.vector is not None and len(moment.history) > 0
        return moment.page < 0 and self.bundle.ranker is not None and by_something

    def _learned(self, sought: Sequence[Sought]) -> list[Ranked]:
        """At most n candidates of all sources for each, in the order of the learned ranker."""
        ranker = self.bundle.ranker
        assert ranker is not None  # noqa: S101 - `ranks` has looked
        block = Block.of(*(_asker(one.moment) for one in sought))
        found = gather(self.catalog, self.index, block, [one.hidden for one in sought])
        score = ranker.score(features(self.catalog, block, found.rows, found.start, standing=self.standing))
        order = falling(score, found.start)
        score = score.take(order)
        ranked = Ranked.scored(
            found.rows.take(order),
            found.source.take(order),
            found.anchor.take(order),
            score,
            _merits(score.astype(np.float64), found.start),
        )
        parts = pairwise(found.start.tolist())
        return [  # by numbers, as a slice would keep the candidates of all with those of one
            ranked.take(np.arange(begin, min(end, begin + one.n)))
            for one, (begin, end) in zip(sought, parts, strict=True)
        ]

    @cached_property
    def catalog(self) -> Catalog:
        """What the learned ranker knows of the items."""
        bundle = self.bundle
        return Catalog(
            item_vectors=bundle.item_vectors,
            text=partial(self.likeness.vectors, "text"),
            image=partial(self.likeness.vectors, "image"),
            popularity=bundle.popularity,
            together=bundle.together_of,
            alike=lambda rows, depth: [near.nearest(rows, depth) for near in bundle.neighbors.values()],
            prices=bundle.prices,
            match_scores=bundle.match_scores,
            newcomers=np.flatnonzero(bundle.popularity == 0),
        )

    def parts(self, moment: Moment, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """What the scores of items in an answer are made of: name -> float32 [n], NaN where there is none.

        For similar items the four ways of being alike, before they are weighed; for a feed what each column adds to the
        learned ranker's score, or, without a ranker, the `taste` (dot product of the user's vector with the item's) and
        the item's `prior`, whose sum is the score of a personalized slot. Nothing for a feed of a stranger.
        """
        parts: dict[str, NDArray[np.float32]] = {}
        vector = moment.query.vector
        if self.bundle.ranker is not None and self.ranks(moment):
            block, whole = Block.of(_asker(moment)), np.array([0, len(rows)])
            known = features(self.catalog, block, rows, whole, standing=self.standing)
            of_each = self.bundle.ranker.parts(known)
            parts = dict(zip(FEATURES, of_each.T, strict=True))
        elif moment.page >= 0:
            parts = {str(part): of for part, of in self.likeness.split(moment.page, rows).items()}
        elif vector is not None:
            parts["taste"] = dot_products(self.bundle.item_embeddings[rows], vector[:-1])
            parts["prior"] = self.bundle.item_prior[rows]
        return parts


def _merits(falling_scores: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    """As `in_unit`, of some users' scores, those of each falling: float64 [n]; user i has `start[i]:start[i + 1]`."""
    counts = np.diff(start)
    some = counts.nonzero()[0]
    high, low = falling_scores.take(start[:-1].take(some)), falling_scores.take(start[1:].take(some) - 1)
    low, span = np.repeat(low, counts.take(some)), np.repeat(high - low, counts.take(some))
    return np.divide(falling_scores - low, span, where=span > 0, out=np.ones(len(falling_scores)))


def _asker(moment: Moment) -> Asker:
    request = moment.request
    return Asker(moment.query.vector, moment.history, request.now_s, request.scenario)


def index_of(bundle: Bundle) -> ItemIndex:
    """The index of a bundle's item vectors."""
    saved = bundle.index_path
    return ExactIndex(bundle.item_vectors) if saved is None else load_index(saved, bundle.item_vectors)
