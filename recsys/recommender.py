"""Answers from a bundle alone: similar items and feeds, never empty, each saying where it came from and why.

It needs numpy and, for large catalogs, faiss; the service runs it with Redis, and without when Redis is gone; a replay
runs it at moments of history. Sources find candidates tier by tier, stages given by the caller change their order, the
slots are filled from the top. `recsys/pipeline/` holds the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from features.section import Section
from recsys.bundle import Bundle
from recsys.candidates import Neighbors, Personalized, Popular, PopularInCategory, Tier, climb_down
from recsys.explanation import Explainer
from recsys.index import ExactIndex, ItemIndex, dot_products, load_index
from recsys.live_user import LiveConfig
from recsys.pipeline.likeness import Likeness
from recsys.pipeline.moment import Moment, hiding, moment_of
from recsys.pipeline.ranked import Ranked, in_unit
from recsys.pipeline.request import Request
from recsys.pipeline.stage import Stage
from recsys.ranking.askers import Asker, Block
from recsys.ranking.features import FEATURES, Catalog, features
from recsys.ranking.gather import gather
from recsys.recommendation import SOURCES, Anchor, Recommendation, UserState
from recsys.search.spaces import Spaces

LED_BY_ALL = np.isin(SOURCES, ["personalized", "fresh"])
"""Whether each source goes by all of a user's history; the item of it that says most leads to each suggestion."""


class RecommenderConfig(Section):
    """How answers are put together."""

    hide_seen: bool = True
    """Leave out what the user had already met when the bundle was made."""

    max_recent: PositiveInt = 50
    """The newest so many views shape the feed; all of them are left out of it."""

    live: LiveConfig = LiveConfig()
    """How fast recent views take over."""


class BundleRecommender:
    """A `Recommender` over an open bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        config: how answers are put together.
        spaces: the vectors of words and pictures with their indexes, where they are open already.
        index: of the item vectors, where it is open already.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: RecommenderConfig | None = None,
        *,
        spaces: Spaces | None = None,
        index: ItemIndex | None = None,
    ) -> None:
        self.bundle = bundle
        self.config = config or RecommenderConfig()
        self.explainer = Explainer(bundle)
        self.likeness = Likeness(bundle, spaces)
        voiceless = np.logical_not(np.any(bundle.item_embeddings, axis=1))
        published = Neighbors("published", [bundle.similar])
        content = Neighbors("content", list(bundle.neighbors.values()))
        lower: tuple[Tier, ...] = (published, content, PopularInCategory(bundle), Popular(bundle.popularity))
        self._similar_tiers = lower
        self.index = index_of(bundle) if index is None else index
        self.standing = bundle.standing
        self._feed_tiers: tuple[Tier, ...] = (Personalized(self.index, voiceless), *lower)

    def amended(self, bundle: Bundle, spaces: Spaces) -> BundleRecommender:
        """The recommender of the same bundle with amendments (see `recsys/amended/`)."""
        made = type(self)(bundle, self.config, spaces=spaces, index=self.index.over(bundle.item_vectors))
        made.standing = made.standing.counting_as(self.standing)
        return made

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
        return self.answer(Request(k, page=item_id, exclude=exclude))

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
        return self.answer(Request(k, user, exclude=exclude))

    def answer(self, request: Request, stages: Sequence[Stage] = ()) -> list[Recommendation]:
        """Fill the slots of a request.

        Args:
            request: the question.
            stages: what changes the order of the candidates, in turn.

        Returns:
            At most `request.k` suggestions, best first.

        Raises:
            KeyError: the page's item is unknown.
        """
        moment = self.moment(request)
        return self.explained(moment, self.ranked(moment, stages))

    def moment(self, request: Request) -> Moment:
        """The request in the bundle's row numbers.

        Raises:
            KeyError: the page's item is unknown.
        """
        config = self.config
        return moment_of(
            request, self.bundle, live=config.live, max_recent=config.max_recent, hide_seen=config.hide_seen
        )

    def ranked(
        self, moment: Moment, stages: Sequence[Stage] = (), *, told: Callable[[str, Ranked], None] | None = None
    ) -> Ranked:
        """What fills the slots, without the reasons: at most `request.k`, after all stages.

        See `Moment.relaxed` for what is hidden, and what is let back in where that leaves nothing.

        Args:
            moment: the request.
            stages: what changes the order of the candidates, in turn.
            told: is told what each step made: "candidates", then each stage by its name.
        """
        return self.ranked_all([moment], [stages], told=told)[0]

    def ranked_all(
        self,
        moments: Sequence[Moment],
        stages: Sequence[Sequence[Stage]],
        *,
        told: Callable[[str, Ranked], None] | None = None,
    ) -> list[Ranked]:
        """As `ranked`, of some requests with the stages of each: feeds go through the learned ranker as one block."""
        answers = []
        for moment, its_stages, found in zip(moments, stages, self._candidates(moments, stages), strict=True):
            ranked = found
            if told is not None and len(ranked):
                told("candidates", ranked)
            for stage in its_stages if len(ranked) else ():
                ranked = stage.apply(ranked, moment)
                if told is not None:
                    told(stage.name, ranked)
            answers.append(ranked.take(slice(moment.request.k)))
        return answers

    def _candidates(self, moments: Sequence[Moment], stages: Sequence[Sequence[Stage]]) -> list[Ranked]:
        """The candidates of some requests, before their stages."""
        found = [Ranked.nothing()] * len(moments)
        asked = [
            Sought(place, moment, hidden, max(moment.request.k, moment.request.pool if some else 0))
            for place, (moment, some) in enumerate(zip(moments, stages, strict=True))
            if (hidden := next((hidden for hidden in moment.relaxed() if not hidden.all()), None)) is not None
        ]
        by_ranker = [one for one in asked if self.ranks(one.moment)]
        for one, learned in zip(by_ranker, self._learned(by_ranker) if by_ranker else (), strict=True):
            found[one.place] = learned
        for one in asked:
            found[one.place] = self._found(one, found[one.place])
        return found

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
        ranked = []
        for one, begin, end in zip(sought, found.start[:-1].tolist(), found.start[1:].tolist(), strict=True):
            mine = score[begin:end]
            best = _falling(mine)[: one.n]
            place = best + begin
            rows, source, anchor = found.rows.take(place), found.source.take(place), found.anchor.take(place)
            ones = np.ones(len(best))
            ranked.append(Ranked(rows, mine.take(best), source, anchor, in_unit(mine).take(best), ones, ones))
        return ranked

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

    def explained(self, moment: Moment, ranked: Ranked) -> list[Recommendation]:
        """The slots with outside ids, names of sources and reasons."""
        return [
            Recommendation(self.bundle.items[item], score, source, why, chance, marginal)
            for item, score, source, why, chance, marginal in zip(
                ranked.rows.tolist(),
                ranked.score.tolist(),
                ranked.source_names(),
                self.reasons(moment, ranked),
                ranked.propensity.tolist(),
                ranked.marginal.tolist(),
                strict=True,
            )
        ]

    def reasons(self, moment: Moment, ranked: Ranked) -> list[tuple[str, ...]]:
        """Why each slot is there."""
        return self.reasons_all([moment], [ranked])[0]

    def reasons_all(self, moments: Sequence[Moment], ranked: Sequence[Ranked]) -> list[list[tuple[str, ...]]]:
        """As `reasons`, of some answers; the slots of all feeds are explained together."""
        answers = list(zip(moments, ranked, strict=True))
        feeds = [(moment, of) for moment, of in answers if moment.page < 0 and len(of)]
        of_feeds = iter(self._reasons_of_feeds(feeds) if feeds else ())
        return [
            list(islice(of_feeds, len(of)))
            if moment.page < 0
            else self.explainer.similar(moment.page, of.rows, of.source_names())
            for moment, of in answers
        ]

    def _reasons_of_feeds(self, feeds: Sequence[tuple[Moment, Ranked]]) -> list[tuple[str, ...]]:
        """Of the slots of all feeds, one feed after the other."""
        anchors, roles = list[NDArray[np.int64]](), list[Anchor]()
        for moment, ranked in feeds:
            led = ranked.anchor.copy()
            personal = np.flatnonzero(LED_BY_ALL.take(ranked.source) & (led < 0))
            led[personal] = moment.strongest(ranked.rows[personal])
            anchors.append(led)
            roles += moment.roles(led)
        return self.explainer.feed(
            np.concatenate([ranked.rows for _, ranked in feeds]),
            [name for _, ranked in feeds for name in ranked.source_names()],
            anchors=np.concatenate(anchors),
            roles=roles,
            categories=[moment.query.category for moment, ranked in feeds for _ in range(len(ranked))],
        )

    def split(self, moment: Moment, ranked: Ranked) -> list[dict[str, float | None]]:
        """What the score of each slot is made of.

        For similar items the four ways of being alike, before they are weighed; for a feed the `taste` (dot product of
        the user's vector with the item's) and the item's `prior`, whose sum is the score of a personalized slot. None
        where the item or the user lacks it; nothing for a feed of a stranger.
        """
        rows, vector = ranked.rows, moment.query.vector
        parts: dict[str, NDArray[np.float32]] = {}
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
        told = {name: [None if np.isnan(value) else float(value) for value in of] for name, of in parts.items()}
        return [{name: of[place] for name, of in told.items()} for place in range(len(rows))]

    def user_vector(self, user: UserState) -> NDArray[np.float32] | None:
        """What is known of a user now as a vector, float32 [dim], as `Bundle.user_embeddings`; None for a stranger."""
        vector = self.moment(Request(1, user)).query.vector
        return None if vector is None else vector[:-1]


@dataclass(frozen=True, eq=False)
class Sought:
    """Candidates that are looked for.

    Args:
        place: of the request among those that are answered together.
        moment: the request.
        hidden: bool [n_items]; not to be found.
        n: how many at most.
    """

    place: int
    moment: Moment
    hidden: NDArray[np.bool_]
    n: int


def _falling(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The order of falling scores, ties in theirs: int64 [n]."""
    order = np.argsort(-scores)  # a fifth of the time of a stable sort, which few scores need
    ordered = scores.take(order)
    return np.argsort(-scores, kind="stable") if np.any(ordered[1:] == ordered[:-1]) else order


def _asker(moment: Moment) -> Asker:
    request = moment.request
    return Asker(moment.query.vector, moment.history, request.now_s, request.scenario)


def index_of(bundle: Bundle) -> ItemIndex:
    """The index of a bundle's item vectors."""
    saved = bundle.index_path
    return ExactIndex(bundle.item_vectors) if saved is None else load_index(saved, bundle.item_vectors)
