"""Answers from a bundle alone: similar items and feeds, never empty, each saying where it came from and why.

It needs numpy and, for large catalogs, faiss; the service runs it with Redis, and without when Redis is gone; a replay
runs it at moments of history. Sources find candidates tier by tier, stages given by the caller change their order, the
slots are filled from the top. `recsys/pipeline/` holds the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from features.section import Section
from recsys.bundle import Bundle
from recsys.explanation import Explainer
from recsys.index import ItemIndex
from recsys.live_user import LiveConfig
from recsys.pipeline.kept import KeptMoments
from recsys.pipeline.moment import Moment, moment_of
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.reasons import Grounds, grounds_of, reasons_of
from recsys.pipeline.request import Request
from recsys.pipeline.retrieval import Retriever
from recsys.pipeline.stage import Stage
from recsys.recommendation import Recommendation, UserState
from recsys.search.spaces import Spaces


class RecommenderConfig(Section):
    """How answers are put together."""

    hide_seen: bool = True
    """Leave out what the user had already met when the bundle was made."""

    max_recent: PositiveInt = 50
    """The newest so many views shape the feed; all of them are left out of it."""

    live: LiveConfig = LiveConfig()
    """How fast recent views take over."""


class BundleRecommender(Retriever):
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
        super().__init__(bundle, spaces=spaces, index=index)
        self.config = config or RecommenderConfig()
        self.explainer = Explainer(bundle)
        self._moments = KeptMoments()

    def amended(self, bundle: Bundle, spaces: Spaces) -> BundleRecommender:
        """The recommender of the same bundle with amendments (see `recsys/amended/`)."""
        made = type(self)(bundle, self.config, spaces=spaces, index=self.index.over(bundle.item_vectors))
        made.standing = made.standing.counting_as(self.standing)
        return made

    def let_go(self) -> None:
        """Keep nothing of what was answered, as another recommender answers now; a little at a time where work is
        unhurried. Whoever still asks is answered as before.
        """
        self._moments.let_go()
        self.explainer.let_go()

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
        config, moment = self.config, self._moments.find(request)
        if moment is None:
            moment = moment_of(
                request, self.bundle, live=config.live, max_recent=config.max_recent, hide_seen=config.hide_seen
            )
            self._moments.keep(moment)
        return moment

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
        n = [
            max(moment.request.k, moment.request.pool if some else 0)
            for moment, some in zip(moments, stages, strict=True)
        ]
        answers = []
        for moment, its_stages, found in zip(moments, stages, self.candidates(moments, n), strict=True):
            ranked = found
            if told is not None and len(ranked):
                told("candidates", ranked)
            for stage in its_stages if len(ranked) else ():
                ranked = stage.apply(ranked, moment)
                if told is not None:
                    told(stage.name, ranked)
            answers.append(ranked.take(slice(moment.request.k)))
        return answers

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
        return reasons_of(self.explainer, moments, ranked)

    def split(self, moment: Moment, ranked: Ranked) -> list[dict[str, float | None]]:
        """What the score of each slot is made of: see `Retriever.parts`; None where the item or the user lacks one."""
        parts = self.parts(moment, ranked.rows)
        told = {name: [None if np.isnan(value) else float(value) for value in of] for name, of in parts.items()}
        return [{name: of[place] for name, of in told.items()} for place in range(len(ranked))]

    def grounds(self, moment: Moment, ranked: Ranked) -> list[Grounds | None]:
        """What the reasons of each slot rest on."""
        return grounds_of(self.bundle, self.likeness, moment, ranked)

    def user_vector(self, user: UserState) -> NDArray[np.float32] | None:
        """What is known of a user now as a vector, float32 [dim], as `Bundle.user_embeddings`; None for a stranger."""
        vector = self.moment(Request(1, user)).query.vector
        return None if vector is None else vector[:-1]
