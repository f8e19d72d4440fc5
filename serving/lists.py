"""Answers with ranked lists: what a page's item is like, what is for a user, what goes with a session or examples."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.pipeline.request import STRANGER, Request
from recsys.pipeline.stage import Stage
from recsys.pipeline.taste import Taste
from recsys.pipeline.trace import Standing, standing
from recsys.recommendation import Part, Recommendation, UserState
from recsys.rules.dry_run import both
from serving.answers import Origin, list_json, user_state
from serving.asked import BatchIn, DebugQuery, FeedQuery, ListQuery, OneIn, RecommendIn, SimilarQuery
from serving.codec import LIST_LENGTH, Slot, unpack
from serving.cursor import BadCursor, Cursor, question_hash
from serving.engine import Engine, UnknownItemError
from serving.entries import slots as by_row
from serving.filtering import Filters
from serving.impressions import Shown
from serving.live import Live
from serving.policies import Policies
from serving.problems import ProblemError, unknown_item
from serving.ready import Ready, ReadyAnswers
from serving.steering import NOBODY, Enrolled, Steered, Steerer
from serving.store import StoreDownError

STEADY_S = 60.0
"""A feed of which nothing has changed is made anew after so long, as its events have grown older."""
AHEAD_S = 10.0
"""Lists are made ahead of a switch for so long at most."""
AHEAD, PAUSE_S = 4, 0.004
"""So many are made ahead at a time, and requests have the worker to themselves for so long in between."""


def new_id() -> str:
    """An id for an answer."""
    return secrets.token_hex(16)


@dataclass(frozen=True, eq=False)
class Asked:
    """A list that is wanted.

    Args:
        surface: "similar", "feed" or "recommend".
        subject: the item or the user it is for, "" for a visitor without an id.
        query: what was asked.
        page: the item it must be like; None for none.
        user: what is known of the one who asks.
        cursor: where it goes on.
        steered: the rules and the arms that hold for it.
        taste: how much the user's taste orders what is alike.
        told: whether it is for somebody, and so logged and counted; else it is made ahead, to be kept.
        recommendation_id: the answer's id; whatever is drawn for it follows from the id, so a replay can draw it again.
    """

    surface: str
    subject: str
    query: ListQuery
    page: str | None
    user: UserState
    cursor: Cursor
    steered: Steered
    taste: float = 0.0
    told: bool = True
    recommendation_id: str = field(default_factory=new_id)

    @property
    def plain(self) -> bool:
        """Whether nothing but a number of slots was asked for, so that a stored list may answer."""
        said = self.query.model_fields_set
        return said <= {"k", "item_id", "user_id"} and self.taste == 0 and self.steered.plain

    @property
    def steady(self) -> bool:
        """Whether it would be the same list if it were asked for again at once: no chance, no earlier page."""
        return self.query.cursor is None and not self.steered.draws


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
        self._filters = filters
        self._ready = ReadyAnswers(engine.settings.kept_answers_bytes)

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
        ready = None if query.user_id is not None else self._found(key)
        if ready is not None:
            try:
                packed = await engine.store.similar(ready.live.version, item_id)
                if packed == ready.proof:
                    return self._again(ready, "similar", item_id, query)
            except StoreDownError:
                reachable = False
        return await self._similar(engine.live, item_id, query, reachable=reachable, under=under)

    async def ahead(self, coming: Live) -> None:
        """Make the lists of similar items that were asked for lately from a version that will answer soon.

        They are kept for then; else each would be made anew at its first request after the switch, all at once. A few
        are made at a time, so that requests need not wait.
        """
        end = time.monotonic() + AHEAD_S
        wanted = [
            (subject, query)
            for _, subject, query in self._ready.lately(self._engine.live.version)
            if isinstance(query, SimilarQuery) and subject in coming.bundle.items
        ]
        for start in range(0, len(wanted), AHEAD):
            if time.monotonic() > end:
                break
            few = wanted[start : start + AHEAD]
            await asyncio.gather(*(self._similar(coming, subject, query, told=False) for subject, query in few))
            await asyncio.sleep(PAUSE_S)

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
        state, origin, cursor = NOBODY, None, _cursor("similar", item_id, query)
        if query.user_id is not None:
            state, origin = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, page=live.bundle.items.idx(item_id), begin=len(cursor.shown))
        user = STRANGER if query.user_id is None else user_state(query.user_id, state, steered.known)
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
                    shown, answer = await self._answer(live, asked, slots, "redis")
                    if query.user_id is None:
                        until_s = policies.steady_until_s(enrolled.now_s)
                        self._keep(asked, shown, answer, live=live, policies=policies, until_s=until_s, proof=packed)
                    return answer
                why = "longer than published" if slots else why
            except StoreDownError:
                why = "redis is down"
        if not told:
            return b""
        if not engine.store.up or (asked.plain and live.lists_hold(live.bundle.items.idx(item_id))):
            engine.fell_back("similar", why)
            origin = "bundle"
        return (await self._made(live, asked, query.weights() or steered.weights, origin or "redis"))[1]

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
        ready = None if engine.holds_events_of(user_id) else self._found(key)
        if ready is not None:
            try:
                stamp = await engine.store.stamp(user_id)
                if stamp == ready.proof:
                    return self._again(ready, "feed", user_id, query)
            except StoreDownError:
                reachable = False
        policies, enrolled = self._steerer.keeper.policies, self._enrolled("feed", query, user_id)
        live, cursor = enrolled.live, _cursor("feed", user_id, query)
        read, origin = await engine.user(live, user_id, stamp=stamp, reachable=reachable)
        state, published = read.state, read.published
        steered = self._steerer.steered(enrolled, state, begin=len(cursor.shown))
        user = user_state(user_id, state, steered.known, trained_again=steered.trained_again)
        at_hand, answer_id = _at_hand(user, query), under or new_id()
        asked = Asked("feed", user_id, query, None, at_hand, cursor, steered, recommendation_id=answer_id)
        if asked.plain and published is not None and not state.recent and live.feeds_hold():
            items, available = live.bundle.items, live.bundle.available
            kept = (slot for slot in unpack(published) if available[slot.item_idx])
            slots = [slot for slot in kept if items[slot.item_idx] not in state.seen][: query.k]
            if len(slots) == query.k:
                return (await self._answer(live, asked, slots, origin))[1]
        shown, answer = await self._made(live, asked, None, origin)
        told = read.stamp is not None or state == NOBODY
        if told and asked.steady and enrolled.model is None and not engine.holds_events_of(user_id):
            until_s = min(policies.steady_until_s(enrolled.now_s), enrolled.now_s + STEADY_S)
            self._keep(asked, shown, answer, live=live, policies=policies, until_s=until_s, proof=read.stamp)
        return answer

    async def recommend(self, query: RecommendIn) -> bytes:
        """Items for a session, or like some examples and unlike others, as JSON.

        Raises:
            ProblemError: the cursor belongs to another list.
        """
        engine, enrolled = self._engine, self._enrolled("recommend", query, query.user_id)
        live, subject = enrolled.live, query.user_id or ""
        cursor = _cursor("recommend", subject, query)
        state, origin = NOBODY, engine.origin
        if query.user_id is not None:
            state, origin = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, begin=len(cursor.shown))
        user = STRANGER
        if query.user_id is not None:
            user = user_state(query.user_id, state, steered.known, trained_again=steered.trained_again)
        asked = Asked("recommend", subject, query, None, _at_hand(user, query), cursor, steered)
        return (await self._made(live, asked, None, origin))[1]

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
            user = user_state(query.user_id, state, steered.known, trained_again=steered.trained_again)
        subject = query.page or query.user_id or ""
        asked = Asked(surface, subject, plain, query.page, user, _cursor(surface, subject, plain), steered)
        moment = live.recommender.moment(await self._request(live, asked, steered.weights))
        row = items.idx(item_id)
        found = await engine.ranked(live, partial(standing, live.recommender, moment, row, _stages(asked)))
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

    async def _request(self, live: Live, asked: Asked, weights: Mapping[Part, float] | None) -> Request:
        """What the pipeline is asked for a list."""
        query, steered = asked.query, asked.steered
        filtered = await self._filters.mask(live.bundle, query.filter, steered.steering.occasion)
        return Request(
            query.k,
            asked.user,
            page=asked.page,
            exclude=query.exclude,
            allowed=both(both(_not_shown(live, asked.cursor), filtered), steered.allowed),
            weights=weights,
            scenario=query.scenario,
            pool=steered.pool,
            relax=query.cursor is None,
            now_s=steered.now_s,
            seed=int(asked.recommendation_id[:15], 16),
        )

    async def _made(
        self, live: Live, asked: Asked, weights: Mapping[Part, float] | None, origin: Origin
    ) -> tuple[Shown, bytes]:
        """Rank for this request, in this worker."""
        query = asked.query
        request = await self._request(live, asked, weights)
        stages = _stages(asked)
        shown, splits = await self._engine.ranked(live, partial(_rank, live, request, stages, split=query.split))
        return await self._answer(
            live,
            asked,
            by_row(live.bundle, shown),
            origin,
            propensities=[one.propensity for one in shown],
            marginals=[one.marginal for one in shown],
            splits=splits,
        )

    async def _answer(
        self,
        live: Live,
        asked: Asked,
        slots: Sequence[Slot],
        origin: Origin,
        *,
        propensities: Sequence[float] | None = None,
        marginals: Sequence[float] = (),
        splits: Sequence[dict[str, float | None]] | None = None,
    ) -> tuple[Shown, bytes]:
        """Log slots and make the answer that is sent."""
        items, whole = await self._engine.items(live, [slot.item_idx for slot in slots])
        if not whole and origin == "redis":
            origin = self._engine.whence(asked.surface, whole=False)
        item_ids = [live.bundle.items[slot.item_idx] for slot in slots]
        chances = [1.0] * len(slots) if propensities is None else propensities
        drawn = () if all(chance == 1 for chance in chances) else marginals
        shown = Shown(item_ids, [slot.source for slot in slots], chances, drawn)
        steered = asked.steered
        if asked.told:
            self._log(
                live,
                shown,
                origin,
                surface=asked.surface,
                subject=asked.subject,
                query=asked.query,
                recommendation_id=asked.recommendation_id,
                arms=steered.arms,
                rules_version=steered.rules_version,
            )
        return shown, list_json(
            slots,
            items,
            chances,
            splits=splits,
            next_cursor=asked.cursor.after(item_ids) if len(slots) == asked.query.k else None,
            recommendation_id=asked.recommendation_id,
            version=live.version,
            arms=steered.arms,
            rules_version=steered.rules_version,
            store=origin,
        )

    def _log(
        self,
        live: Live,
        shown: Shown,
        origin: Origin,
        *,
        surface: str,
        subject: str,
        query: ListQuery,
        recommendation_id: str,
        arms: Mapping[str, str],
        rules_version: int,
    ) -> None:
        self._engine.log(
            live,
            shown,
            origin,
            surface=surface,
            subject=subject,
            scenario=query.scenario,
            recommendation_id=recommendation_id,
            arms=arms,
            rules_version=rules_version,
        )
        self._steerer.count(arms, slots=len(shown.items), asked=query.k, fallback=origin == "bundle")

    def _found(self, key: Hashable) -> Ready | None:
        """An answer that was sent before, and holds if Redis still has its proof."""
        if not self._engine.store.up:
            return None
        return self._ready.find(key, self._engine.live, self._steerer.keeper.policies, time.time())

    def _again(self, ready: Ready, surface: str, subject: str, query: ListQuery) -> bytes:
        """An answer that was sent before, under a new id, and logged under it."""
        self._engine.kept_answer(True)
        recommendation_id = new_id()
        self._log(
            ready.live,
            ready.shown,
            "redis",
            surface=surface,
            subject=subject,
            query=query,
            recommendation_id=recommendation_id,
            arms=ready.arms,
            rules_version=ready.rules_version,
        )
        return ready.under(recommendation_id)

    def _keep(
        self,
        asked: Asked,
        shown: Shown,
        answer: bytes,
        *,
        live: Live,
        policies: Policies,
        until_s: float,
        proof: bytes | None,
    ) -> None:
        if asked.told:
            self._engine.kept_answer(False)
        self._ready.keep(
            (asked.surface, asked.subject, asked.query.key),
            answer,
            surface=asked.surface,
            subject=asked.subject,
            query=asked.query,
            live=live,
            policies=policies,
            until_s=until_s,
            proof=proof,
            shown=shown,
            arms=asked.steered.arms,
            rules_version=asked.steered.rules_version,
        )


def _stages(asked: Asked) -> list[Stage]:
    """What changes the order of the candidates of a list, in turn."""
    return [*([Taste(asked.taste)] if asked.taste > 0 else []), *asked.steered.stages()]


def _rank(
    live: Live, request: Request, stages: Sequence[Stage], *, split: bool
) -> tuple[list[Recommendation], list[dict[str, float | None]] | None]:
    recommender = live.recommender
    moment = recommender.moment(request)
    ranked = recommender.ranked(moment, stages)
    return recommender.explained(moment, ranked), recommender.split(moment, ranked) if split else None


def _cursor(surface: str, subject: str, query: ListQuery) -> Cursor:
    question = question_hash(surface, subject, query.question())
    if query.cursor is None:
        return Cursor.start(question)
    try:
        return Cursor.parse(query.cursor, question)
    except BadCursor as error:
        errors = [{"place": "cursor", "rule": str(error), "value": query.cursor[:80]}]
        raise ProblemError(422, "invalid-request", f"cursor: {error}", errors=errors) from None


def _not_shown(live: Live, cursor: Cursor) -> NDArray[np.bool_] | None:
    """What the pages before have left, bool [n_items]; None where there were none."""
    return ~np.isin(live.checksums, cursor.shown) if len(cursor.shown) else None


def _at_hand(user: UserState, query: FeedQuery) -> UserState:
    """A user's state with what is on the page now."""
    if not (query.category or query.item or query.cart or isinstance(query, RecommendIn)):
        return user
    given: dict[str, object] = {
        "category": query.category or "",
        "page": (query.item,) if query.item is not None else (),
        "cart": tuple(query.cart),
    }
    if isinstance(query, RecommendIn):
        given["again"] = user.again - set(query.session)
        given |= {"like": tuple(query.like), "unlike": tuple(query.unlike)}
        given["recent_items"] = (*user.recent_items, *query.session)
        known = user.recent_ages_s if len(user.recent_ages_s) == len(user.recent_items) else ()
        given["recent_ages_s"] = (*known, *(0.0 for _ in query.session)) if known else ()
    return replace(user, **given)  # type: ignore[arg-type]
