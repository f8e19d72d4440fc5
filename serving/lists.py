"""Answers with ranked lists: what a page's item is like, what is for a user, what goes with a session or examples."""

from __future__ import annotations

import asyncio
import time
import uuid
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
from serving.kept import Kept
from serving.live import Live
from serving.problems import ProblemError, unknown_item
from serving.steering import NOBODY, Enrolled, Steered, Steerer
from serving.store import StoreDownError


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
    recommendation_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def plain(self) -> bool:
        """Whether nothing but a number of slots was asked for, so that a stored list may answer."""
        said = self.query.model_fields_set
        return said <= {"k", "item_id", "user_id"} and self.taste == 0 and self.steered.plain


@dataclass(frozen=True)
class _Ready:
    """A list as it was sent before, made of the same published bytes.

    Args:
        packed: those bytes; Redis is asked for them each time, so nothing old is sent.
        shown: the slots, for the log.
        head: the answer before its recommendation id.
        tail: the answer after it.
    """

    packed: bytes
    shown: Shown
    head: bytes
    tail: bytes


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
        self._ready: Kept[Hashable, _Ready] = Kept(engine.settings.kept_answers_bytes)

    async def similar(self, item_id: str, query: SimilarQuery) -> bytes:
        """Items like this one, as JSON.

        Raises:
            UnknownItemError: the item is not in the catalog.
            ProblemError: the cursor belongs to another list.
        """
        engine = self._engine
        enrolled = self._enrolled("similar", query, query.user_id)
        live = enrolled.live
        if item_id not in live.bundle.items:
            raise UnknownItemError(item_id)
        state, origin, cursor = NOBODY, None, _cursor("similar", item_id, query)
        if query.user_id is not None:
            state, origin = await engine.state(live, query.user_id)
        steered = self._steerer.steered(enrolled, state, page=live.bundle.items.idx(item_id), begin=len(cursor.shown))
        user = STRANGER if query.user_id is None else user_state(query.user_id, state, steered.known)
        taste = query.user_weight if query.user_id is not None else 0.0
        asked = Asked("similar", item_id, query, item_id, user, cursor, steered, taste)
        why = "redis is down"
        if asked.plain and engine.store.up and live.lists_hold(live.bundle.items.idx(item_id)):
            why = "not published"
            try:
                packed = await engine.store.similar(live.version, item_id)
                key = _ready_key(live, asked)
                ready = self._ready.get(key)
                known = ready is not None and ready.packed == packed
                engine.kept_answer(known)
                if ready is not None and known:
                    self._log(live, asked, ready.shown, "redis")
                    return b"".join((ready.head, asked.recommendation_id.encode(), ready.tail))
                most = query.k if live.changes is None else LIST_LENGTH  # some of them may have sold out
                stored = [] if packed is None else unpack(packed, most)
                slots = [slot for slot in stored if live.bundle.available[slot.item_idx]][: query.k]
                if slots and packed is not None and (len(slots) == query.k or len(stored) < LIST_LENGTH):
                    shown, answer = await self._answer(live, asked, slots, "redis")
                    self._keep(key, packed, shown, answer)
                    return answer
                why = "longer than published" if slots else why
            except StoreDownError:
                why = "redis is down"
        if not engine.store.up or (asked.plain and live.lists_hold(live.bundle.items.idx(item_id))):
            engine.fell_back("similar", why)
            origin = "bundle"
        return await self._made(live, asked, query.weights() or steered.weights, origin or "redis")

    async def feed(self, user_id: str, query: FeedQuery) -> bytes:
        """Items for this user, as JSON; live behavior first, then the published list, then the rest of the ladder.

        Raises:
            ProblemError: the cursor belongs to another list.
        """
        engine, enrolled = self._engine, self._enrolled("feed", query, user_id)
        live, cursor = enrolled.live, _cursor("feed", user_id, query)
        state, published, origin = await engine.user(live, user_id)
        steered = self._steerer.steered(enrolled, state, begin=len(cursor.shown))
        user = user_state(user_id, state, steered.known, trained_again=steered.trained_again)
        asked = Asked("feed", user_id, query, None, _at_hand(user, query), cursor, steered)
        if asked.plain and published is not None and not state.recent and live.feeds_hold():
            items, available = live.bundle.items, live.bundle.available
            kept = (slot for slot in unpack(published) if available[slot.item_idx])
            slots = [slot for slot in kept if items[slot.item_idx] not in state.seen][: query.k]
            if len(slots) == query.k:
                return (await self._answer(live, asked, slots, origin))[1]
        return await self._made(live, asked, None, origin)

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
        return await self._made(live, asked, None, origin)

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

    def _enrolled(self, surface: str, query: ListQuery, user_id: str | None) -> Enrolled:
        """The arms of a request and the model it is answered by."""
        scenarios = frozenset({surface, query.scenario} - {""})
        return self._steerer.enrolled(self._engine.live, user_id, scenarios, time.time())

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

    async def _made(self, live: Live, asked: Asked, weights: Mapping[Part, float] | None, origin: Origin) -> bytes:
        """Rank for this request, in this worker."""
        query = asked.query
        request = await self._request(live, asked, weights)
        stages = _stages(asked)
        shown, splits = await self._engine.ranked(live, partial(_rank, live, request, stages, split=query.split))
        _, answer = await self._answer(
            live,
            asked,
            by_row(live.bundle, shown),
            origin,
            propensities=[one.propensity for one in shown],
            marginals=[one.marginal for one in shown],
            splits=splits,
        )
        return answer

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
        self._log(live, asked, shown, origin)
        return shown, list_json(
            slots,
            items,
            chances,
            splits=splits,
            next_cursor=asked.cursor.after(item_ids) if len(slots) == asked.query.k else None,
            recommendation_id=asked.recommendation_id,
            version=live.version,
            arms=asked.steered.arms,
            rules_version=asked.steered.rules_version,
            store=origin,
        )

    def _log(self, live: Live, asked: Asked, shown: Shown, origin: Origin) -> None:
        self._engine.log(
            live,
            shown,
            origin,
            surface=asked.surface,
            subject=asked.subject,
            scenario=asked.query.scenario,
            recommendation_id=asked.recommendation_id,
            arms=asked.steered.arms,
            rules_version=asked.steered.rules_version,
        )
        n_slots = len(shown.items)
        self._steerer.count(asked.steered.arms, slots=n_slots, asked=asked.query.k, fallback=origin == "bundle")

    def _keep(self, key: Hashable, packed: bytes, shown: Shown, answer: bytes) -> None:
        """Keep a list that is the same for everybody, and that Redis held as a whole."""
        head, said, tail = answer.rpartition(b'"recommendation_id":"')
        if key is None or not answer.endswith(b'"store":"redis"}'):
            return
        ready = _Ready(packed, shown, head + said, tail[tail.index(b'"') :])
        self._ready.keep(key, ready, len(answer) + len(packed) + len(shown.json))


def _ready_key(live: Live, asked: Asked) -> Hashable:
    """What a kept list depends on; None where it must be made each time, as items have changed."""
    if live.changes is not None:
        return None
    steered = asked.steered
    arms = tuple(steered.arms.items())
    return live.version, asked.cursor.question, asked.query.k, steered.rules_version, arms


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
