"""Answers a search: the shopper's state and the items through the engine, the ranking in a thread."""

from __future__ import annotations

from recsys.search.encoding import CannotSearch
from serving.answers import search_json, user_state
from serving.engine import Engine
from serving.ids import new_id
from serving.impressions import Shown
from serving.search_schemas import SearchIn
from serving.searching import SearchDesk, Uploaded
from serving.settings import Settings
from serving.steering import NOBODY, Steerer


class SearchEngine:
    """One worker's searches.

    Args:
        engine: knows the open bundle, users and items, and logs what is shown.
        steerer: knows what the shop's rules filter out.
        settings: threads, and limits.
    """

    def __init__(self, engine: Engine, steerer: Steerer, settings: Settings) -> None:
        self._engine = engine
        self._steerer = steerer
        self._desk = SearchDesk(settings)

    async def search(self, asked: SearchIn, pictures: Uploaded) -> bytes:
        """Items by words, pictures and examples, as JSON.

        Raises:
            CannotSearch: the bundle has no index, or not the encoder that the query needs.
            BadQuery: the query names what the shop does not have.
            ProblemError: a picture is none, or too many searches are waiting.
        """
        live = self._engine.live
        if live.searcher is None:
            raise CannotSearch(live.no_search)
        vector, state = None, NOBODY
        if asked.user_id is not None:
            state, _ = await self._engine.state(live, asked.user_id)
            if asked.user_weight > 0:
                vector = live.recommender.user_vector(user_state(live.bundle.items, asked.user_id, state))
        rules_version, allowed = self._steerer.filters(live, asked.user_id, state, "search")
        answer = await self._desk.search(live.searcher, asked, pictures, user_vector=vector, allowed=allowed)
        items, whole = await self._engine.items.published(live, [result.item_idx for result in answer.results])
        origin = self._engine.whence("search", whole=whole)
        sources = [result.source for result in answer.results]
        recommendation_id = new_id()
        propensities = [1.0] * len(sources)  # the ranking is deterministic: what is shown is shown with certainty
        self._engine.log(
            live.version,
            Shown([live.bundle.items[result.item_idx] for result in answer.results], sources, propensities),
            origin,
            surface="search",
            subject=asked.user_id or "",
            recommendation_id=recommendation_id,
            rules_version=rules_version,
        )
        return search_json(
            answer,
            items,
            propensities,
            recommendation_id=recommendation_id,
            model_version=live.version,
            rules_version=rules_version,
            source=sources[0] if sources else None,
            store=origin,
        )

    def close(self) -> None:
        """Let the threads go."""
        self._desk.close()
