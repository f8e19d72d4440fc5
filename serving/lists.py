"""Answers with ranked lists: what a page's item is like, what is for a user, what goes with a session or examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from functools import partial

import orjson

from features.pace import Rests
from recsys.pipeline.request import STRANGER
from recsys.pipeline.trace import Standing, standing
from serving.answerer import Answerer
from serving.answers import user_state
from serving.asked import BatchIn, DebugQuery, FeedQuery, ListQuery, OneIn, RecommendIn, SimilarQuery
from serving.codec import LIST_LENGTH, unpack
from serving.engine import Engine, UnknownItemError
from serving.filtering import Filters
from serving.ids import new_id
from serving.live import Live
from serving.problems import ProblemError, unknown_item
from serving.question import Asked, at_hand, cursor_of
from serving.state_rows import STEADY_S
from serving.steady import until_s
from serving.steering import NOBODY, Enrolled, Steerer
from serving.store import StoreDownError

AHEAD_S = 30.0
"""Lists are made ahead of a switch for so long at most."""


class ListEngine:
    """One worker's ranked lists.

    Args:
        engine: knows the open bundle, users and items, and logs what is shown.
        steerer: knows what holds for a request beside ranking.
        filters: of requests.
    """

    def __init__(self, engine: Engine, steerer: Steerer, filters: Filters) -> None:
        self._engine = engine
        self._steerer = steerer
        self.answerer = Answerer(engine, steerer, filters)
        """Makes and keeps its answers."""

    async def similar(self, item_id: str, query: SimilarQuery, *, under: str = "") -> bytes:
        """Items like this one, as JSON.

        Args:
            item_id: the item.
            query: what is asked.
            under: id of an answer whose draws are to be made again; "" draws afresh.

        Raises:
            UnknownItemError: the item is not in the catalog.
            ProblemError: the cursor belongs to another list.
        """
        engine, key, reachable, packed = self._engine, ("similar", item_id, query.key), True, None
        ready = None if query.user_id is not None else self.answerer.found(key)
        if ready is not None:
            try:
                packed = await engine.store.similar(ready.version, item_id)
                if packed == ready.proof:
                    return self.answerer.again(ready)
            except StoreDownError:
                reachable = False
        return await self._similar(engine.live, item_id, query, reachable=reachable, under=under)

    async def ahead(self, coming: Live) -> None:
        """Make the lists of similar items that were asked for lately from a version that will answer soon.

        They are kept for then; else each would be made anew at its first request after the switch, all at once. One
        is made at a time, so that requests need not wait.
        """
        version, made, lately = self._engine.live.version, set[Hashable](), self.answerer.ready.lately()
        end, rests = time.monotonic() + AHEAD_S, Rests()
        while lately:
            ready = lately.pop()  # by now this may be who holds it last, and giving all back at once takes a while
            if len(lately) % 500 == 0:  # most may be of feeds, or of a version before
                await asyncio.sleep(0)
            query, subject = ready.about.query, ready.about.subject
            if not isinstance(query, SimilarQuery) or ready.version != version or (subject, query.key) in made:
                continue
            if time.monotonic() > end:
                break
            made.add((subject, query.key))
            if subject in coming.bundle.items:
                await self._similar(coming, subject, query, told=False)
                await asyncio.sleep(rests.next_s())  # a worker that is busy would otherwise fall behind

    async def _similar(
        self,
        current: Live,
        item_id: str,
        query: SimilarQuery,
        *,
        reachable: bool = True,
        told: bool = True,
        under: str = "",
    ) -> bytes:
        """A list of similar items that is not kept. One that is not told is made only if it is published; else b""."""
        engine = self._engine
        policies, enrolled = self._steerer.keeper.policies, self._enrolled("similar", query, query.user_id, current)
        live = enrolled.live
        if item_id not in live.bundle.items:
            raise UnknownItemError(item_id)
        state, origin, cursor = NOBODY, None, cursor_of("similar", item_id, query)
        if query.user_id is not None:
            state, origin = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, page=live.bundle.items.idx(item_id), begin=len(cursor.shown))
        user = STRANGER if query.user_id is None else user_state(live.bundle.items, query.user_id, state, steered.known)
        taste = query.user_weight if query.user_id is not None else 0.0
        asked = Asked("similar", item_id, query, item_id, user, cursor, steered, taste, told, under or new_id())
        why = "redis is down"
        if asked.plain and engine.store.up and reachable and live.lists_hold(live.bundle.items.idx(item_id)):
            why = "not published"
            try:
                packed = await engine.store.similar(live.version, item_id)
                most = query.k if live.changes is None else LIST_LENGTH  # some of them may have sold out
                stored = [] if packed is None else unpack(packed, most)
                slots = [slot for slot in stored if live.bundle.available[slot.item_idx]][: query.k]
                if slots and packed is not None and (len(slots) == query.k or len(stored) < LIST_LENGTH):
                    shown, answer = await self.answerer.answer(live, asked, slots, "redis")
                    if query.user_id is None:
                        end_s = policies.steady_until_s(enrolled.now_s)
                        self.answerer.keep(
                            asked, shown, answer, live=live, policies=policies, until_s=end_s, proof=packed
                        )
                    return answer
                why = "longer than published" if slots else why
            except StoreDownError:
                why = "redis is down"
        if not told:
            return b""
        if not engine.store.up or (asked.plain and live.lists_hold(live.bundle.items.idx(item_id))):
            engine.fell_back("similar", why)
            origin = "bundle"
        return (await self.answerer.made(live, asked, query.weights() or steered.weights, origin or "redis"))[1]

    async def feed(self, user_id: str, query: FeedQuery, *, under: str = "") -> bytes:
        """Items for this user, as JSON; live behavior first, then the published list, then the rest of the ladder.

        Args:
            user_id: the user.
            query: what is asked.
            under: as of `similar`.

        Raises:
            ProblemError: the cursor belongs to another list.
        """
        engine, key, reachable, stamp = self._engine, ("feed", user_id, query.key), True, None
        ready = None if engine.holds_events_of(user_id) else self.answerer.found(key)
        if ready is not None:
            try:
                stamp = await engine.store.stamp(user_id)
                if stamp == ready.proof:
                    return self.answerer.again(ready)
            except StoreDownError:
                reachable = False
        policies, enrolled = self._steerer.keeper.policies, self._enrolled("feed", query, user_id)
        live, cursor = enrolled.live, cursor_of("feed", user_id, query)
        read, origin = await engine.user(live, user_id, stamp=stamp, reachable=reachable)
        state, published = read.state, read.published
        steered = self._steerer.steered(enrolled, state, begin=len(cursor.shown))
        user = user_state(live.bundle.items, user_id, state, steered.known, trained_again=steered.trained_again)
        user, answer_id = at_hand(live.bundle.items, user, query), under or new_id()
        asked = Asked("feed", user_id, query, None, user, cursor, steered, recommendation_id=answer_id)
        if not state.recent and asked.plain:
            items, available = live.bundle.items, live.bundle.available
            if published is not None and live.feeds_hold():
                kept = (slot for slot in unpack(published) if available[slot.item_idx])
                slots = [slot for slot in kept if items[slot.item_idx] not in state.seen][: query.k]
                if len(slots) == query.k:
                    return (await self.answerer.answer(live, asked, slots, origin))[1]
            if published is None and origin == "redis" and user_id in live.bundle.users:
                origin = engine.whence("feed", whole=False)
        shown, answer = await self.answerer.made(live, asked, None, origin)
        told = read.stamp is not None or state == NOBODY
        if told and asked.steady and enrolled.model is None and not engine.holds_events_of(user_id):
            end_s = min(policies.steady_until_s(enrolled.now_s), until_s(asked.now_s, STEADY_S))
            self.answerer.keep(asked, shown, answer, live=live, policies=policies, until_s=end_s, proof=read.stamp)
        return answer

    async def recommend(self, query: RecommendIn) -> bytes:
        """Items for a session, or like some examples and unlike others, as JSON.

        Raises:
            ProblemError: the cursor belongs to another list.
        """
        engine, enrolled = self._engine, self._enrolled("recommend", query, query.user_id)
        live, subject = enrolled.live, query.user_id or ""
        cursor = cursor_of("recommend", subject, query)
        state, origin = NOBODY, engine.origin
        if query.user_id is not None:
            state, origin = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, begin=len(cursor.shown))
        user = STRANGER
        if query.user_id is not None:
            items, again = live.bundle.items, steered.trained_again
            user = user_state(items, query.user_id, state, steered.known, trained_again=again)
        asked = Asked("recommend", subject, query, None, at_hand(live.bundle.items, user, query), cursor, steered)
        return (await self.answerer.made(live, asked, None, origin))[1]

    async def standing(self, item_id: str, query: DebugQuery) -> tuple[Live, Standing | None, list[str]]:
        """Where an item stands in a user's feed or among the items like another; None where neither is asked about.

        Returns:
            What answers, the standing, and the names of the rules that hide, move or pin the item.

        Raises:
            UnknownItemError: the item, or the page's, is not in the catalog.
        """
        surface = "feed" if query.page is None else "similar"
        plain = ListQuery(k=query.k, scenario=query.scenario, filter=query.filter)
        engine, enrolled = self._engine, self._enrolled(surface, plain, query.user_id)
        live, items = enrolled.live, enrolled.live.bundle.items
        for known in (item_id, *(() if query.page is None else (query.page,))):
            if known not in items:
                raise UnknownItemError(known)
        if query.user_id is None and query.page is None:
            return live, None, []
        state = NOBODY
        if query.user_id is not None:
            state, _ = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, page=-1 if query.page is None else items.idx(query.page))
        user = STRANGER
        if query.user_id is not None:
            again = steered.trained_again
            user = user_state(items, query.user_id, state, steered.known, trained_again=again)
        subject = query.page or query.user_id or ""
        asked = Asked(surface, subject, plain, query.page, user, cursor_of(surface, subject, plain), steered)
        moment = live.recommender.moment(await self.answerer.request(live, asked, steered.weights))
        row = items.idx(item_id)
        found = await engine.ranked(live, partial(standing, live.recommender, moment, row, asked.stages()))
        return live, found, steered.steering.book.about(row, steered.steering.occasion)

    async def batch(self, batch: BatchIn) -> bytes:
        """Many lists, as JSON: for each its answer, or the problem with it."""
        answers = await asyncio.gather(*(self._one(one) for one in batch.requests))
        return orjson.dumps({"answers": [orjson.Fragment(answer) for answer in answers]})

    async def _one(self, one: OneIn) -> bytes:
        try:
            if one.similar is not None:
                return await self.similar(one.similar.item_id, one.similar)
            if one.feed is not None:
                return await self.feed(one.feed.user_id, one.feed)
            return await self.recommend(one.recommend or RecommendIn())
        except UnknownItemError as error:
            return b'{"problem":' + bytes(unknown_item(str(error)).body) + b"}"
        except ProblemError as error:
            return b'{"problem":' + bytes(error.response().body) + b"}"

    def _enrolled(self, surface: str, query: ListQuery, user_id: str | None, current: Live | None = None) -> Enrolled:
        """The arms of a request and the model it is answered by, where everybody's is `current`; None: the one now."""
        scenarios = frozenset({surface, query.scenario} - {""})
        return self._steerer.enrolled(current or self._engine.live, user_id, scenarios, time.time())
