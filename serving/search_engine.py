"""Answers a search: the shopper's state and the items through the engine, the ranking in a thread."""

from __future__ import annotations

import uuid

from recsys.search.encoding import CannotSearch
from serving.answers import search_json, user_state
from serving.engine import Engine
from serving.schemas import SearchIn
from serving.searching import SearchDesk, Uploaded
from serving.settings import Settings


class SearchEngine:
    """One worker's searches.

    Args:
        engine: knows the open bundle, users and items, and logs what is shown.
        settings: threads, and limits.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
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
        vector = None
        if asked.user_id is not None and asked.user_weight > 0:
            state, _ = await self._engine.state(live, asked.user_id)
            vector = live.recommender.user_vector(user_state(asked.user_id, state))
        answer = await self._desk.search(live.searcher, asked, pictures, vector)
        items, whole = await self._engine.items(live, [result.item_idx for result in answer.results])
        origin = self._engine.whence("search", whole=whole)
        sources = [result.source for result in answer.results]
        recommendation_id = uuid.uuid4().hex
        propensities = [1.0] * len(sources)  # the ranking is deterministic: what is shown is shown with certainty
        self._engine.log(
            live,
            [live.bundle.items[result.item_idx] for result in answer.results],
            sources,
            origin,
            surface="search",
            subject=asked.user_id or "",
            recommendation_id=recommendation_id,
            propensities=propensities,
        )
        return search_json(
            answer,
            items,
            propensities,
            recommendation_id=recommendation_id,
            model_version=live.version,
            source=sources[0] if sources else None,
            store=origin,
        )

    def close(self) -> None:
        """Let the threads go."""
        self._desk.close()
