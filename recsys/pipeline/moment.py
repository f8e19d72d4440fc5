"""A request in row numbers: what its user met, what pulls at them, and what the sources are asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.candidates import Query
from recsys.live_user import LiveConfig, live_vector, pushed_away, recent_weights
from recsys.pipeline.ranked import Ranked, by_factor
from recsys.pipeline.request import Request
from recsys.ranking.standing import Standing
from recsys.recommendation import Anchor
from recsys.traces import NO_ROWS, Traces, known_rows, without

Factors = NDArray[np.float64]


@dataclass(frozen=True)
class WorkedOut:
    """What was worked out of a moment so far.

    Args:
        found: see `Moment.found`; by how many were looked for and the scenario whose counters hold, with what was known
            of the items then.
        strongest: see `Moment.strongest`.
        hides: see `Moment.hides`.
        roles: see `Moment.roles`.
        moved: see `Moment.moved`; the latest candidates and factors, and the order they gave.
    """

    found: dict[tuple[int, str], tuple[Standing, Ranked]] = field(default_factory=dict)
    strongest: dict[int, int] = field(default_factory=dict)
    hides: dict[int, bool] = field(default_factory=dict)
    roles: dict[int, Anchor] = field(default_factory=dict)
    moved: list[tuple[Ranked, ReferenceType[Factors], NDArray[np.int64]]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Moment:
    """What is known when an answer is made.

    Args:
        bundle: what it is made from.
        request: the question.
        page: row of the item whose page asks, -1 for a feed.
        viewed: int64; rows the user had to do with lately, and those on the page and in the cart, newest last.
        seen: int64; further rows not to be shown again: met when the bundle was made, or named by the user's state.
        again: int64; rows that may be shown although they were viewed lately.
        history: int64 [n]; rows the user's vector is made of, newest last.
        pull: float32 [n]; how much each is in it.
        excluded: int64; rows that are never shown in this answer.
        query: what the sources are asked, apart from what is hidden from this answer.
        worked_out: what was worked out of it so far.
    """

    bundle: Bundle
    request: Request
    page: int
    viewed: NDArray[np.int64]
    seen: NDArray[np.int64]
    again: NDArray[np.int64]
    history: NDArray[np.int64]
    pull: NDArray[np.float32]
    excluded: NDArray[np.int64]
    query: Query
    worked_out: WorkedOut = field(default_factory=WorkedOut)

    def of(self, request: Request) -> Moment:
        """The same moment for a request that differs in nothing it is made of; what is worked out is for both."""
        return replace(self, request=request)

    def relaxed(self) -> Iterator[NDArray[np.bool_]]:
        """What to hide, bool [n_items], strictest first, not to be written to.

        An item's page hides what cannot be bought, and the item itself. A feed also hides what was seen and viewed;
        where that leaves nothing, the seen, then the viewed, then the unavailable are let back in, if the request
        allows it. What is excluded or not allowed never is.
        """
        closed = closed_to(self.bundle, self.request.allowed)
        if self.page >= 0:
            yield self._hidden(closed)
            return
        viewed = without(self.viewed, self.again)
        yield self._hidden(closed, self.seen, viewed)
        if self.request.relax:
            yield self._hidden(closed, viewed)
            yield self._hidden(closed)
            allowed = self.request.allowed
            yield self._hidden(np.zeros(len(self.bundle), dtype=np.bool_) if allowed is None else ~allowed)

    def hides(self, item: int) -> bool:
        """Whether an item is hidden at first, as the first of `relaxed` has it."""
        known = self.worked_out.hides.get(item)
        if known is None:
            closed = closed_to(self.bundle, self.request.allowed)
            by_user = (self.seen, without(self.viewed, self.again)) if self.page < 0 else ((self.page,),)
            layers = (*by_user, self.excluded, self.bundle.removed)
            known = bool(closed[item]) or any(item in of for of in layers)
            self.worked_out.hides[item] = known
        return known

    def hidden_by(self, item: int) -> tuple[str, ...]:
        """What keeps an item out of an answer, most lasting first; nothing for one that may be shown."""
        allowed, feed = self.request.allowed, self.page < 0
        return tuple(
            name
            for name, holds in (
                ("removed", item in self.bundle.removed),
                ("unavailable", not self.bundle.available[item]),
                ("not allowed", allowed is not None and not allowed[item]),
                ("excluded", item in self.excluded),
                ("its own page", item == self.page),
                ("seen", feed and item in self.seen),
                ("viewed", feed and item in self.viewed),
            )
            if holds
        )

    def _hidden(self, closed: NDArray[np.bool_], *layers: NDArray[np.int64]) -> NDArray[np.bool_]:
        hidden = closed.copy()
        for of in (*layers, self.excluded, self.bundle.removed):
            if len(of):
                hidden[of] = True
        if self.page >= 0:
            hidden[self.page] = True
        return hidden

    def found(self, n: int, standing: Standing) -> Ranked | None:
        """The candidates before any stage, n at most, where they were found with this known of the items."""
        then, ranked = self.worked_out.found.get((n, _counted(self.request.scenario, standing)), (None, None))
        return ranked if then is standing else None

    def keep(self, found: Ranked, n: int, standing: Standing) -> None:
        """Keep candidates for `found`."""
        kept = self.worked_out.found
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[n, _counted(self.request.scenario, standing)] = standing, found

    def strongest(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each item the item of the history that adds most to its score, -1 where none adds anything: int64 [n]."""
        if not len(self.history):
            return np.full(len(rows), -1, dtype=np.int64)
        known, asked = self.worked_out.strongest, rows.tolist()
        if not known.keys() >= set(asked):
            known |= zip(asked, self._strongest(rows).tolist(), strict=True)
        return np.array([known[row] for row in asked], dtype=np.int64)

    def _strongest(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        vectors = self.bundle.item_vectors
        ours, theirs = (vectors.take(of, axis=0)[:, :-1] for of in (rows, self.history))
        added = (ours @ theirs.T) * self.pull
        best = added.argmax(axis=1)
        return np.where(added.max(axis=1) > 0, self.history.take(best), -1)

    def roles(self, anchors: NDArray[np.int64]) -> list[Anchor]:
        """What each of some items is to the user."""
        known, asked = self.worked_out.roles, anchors.tolist()
        if not known.keys() >= set(asked):
            viewed = np.any(self.viewed == anchors[:, None], axis=1).tolist()
            at_hand = self._at_hand
            for anchor, was_viewed in zip(asked, viewed, strict=True):
                known[anchor] = at_hand.get(anchor, "viewed" if was_viewed else "history")
        return [known[anchor] for anchor in asked]

    def moved(self, found: Ranked, factors: Factors) -> Ranked:
        """Candidates in the order in which their places are divided by a factor of each item.

        Args:
            found: the candidates.
            factors: float64 [n_items]; what was worked out of the same arrays before is not worked out again, as the
                factors of some hundred items lie all over the memory.
        """
        for then, of, order in self.worked_out.moved:
            if then is found and of() is factors:
                return found.take(order)
        order = by_factor(factors.take(found.rows))
        self.worked_out.moved[:] = [(found, ref(factors), order)]
        return found.take(order)

    @cached_property
    def _at_hand(self) -> dict[int, Anchor]:
        items, user = self.bundle.items, self.request.user
        given: tuple[tuple[Anchor, tuple[str, ...]], ...] = (
            ("like", user.like),
            ("page", user.page),
            ("cart", user.cart),
        )
        return {row: role for role, item_ids in given for row in known_rows(items, item_ids).tolist()}


def moment_of(request: Request, bundle: Bundle, *, live: LiveConfig, max_recent: int, hide_seen: bool) -> Moment:
    """Put a request into rows.

    Args:
        request: the question.
        bundle: whose rows.
        live: how fast recent views take over.
        max_recent: views that shape the answer, the newest.
        hide_seen: whether to leave out what the user had met when the bundle was made.

    Raises:
        KeyError: the page's item is unknown.
    """
    user, items = request.user, bundle.items
    traces = user.traces
    if traces is None:
        traces = Traces.of(items, user.recent_items, user.recent_ages_s, user.seen, user.again)
    page = -1 if request.page is None else items.idx(request.page)
    user_idx = -1 if user.user_id is None or user.user_id not in bundle.users else bundle.users.idx(user.user_id)
    trained = bundle.user_embeddings[user_idx] if user_idx >= 0 else None
    past = bundle.seen(user_idx) if user_idx >= 0 else NO_ROWS
    ids_at_hand = (*user.cart, *user.page, *user.like)
    at_hand = items.idxs(ids_at_hand) if ids_at_hand else NO_ROWS
    viewed = np.concatenate([traces.viewed, at_hand]) if ids_at_hand else traces.viewed
    places = _newest(viewed.tolist(), max_recent)
    recent = viewed.take(np.array(places, dtype=np.int64))
    n_before = bisect_left(places, len(traces.viewed))
    weights = recent_weights(n_before, traces.ages_s.take(places[:n_before]) if len(traces.ages_s) else None, live)
    if len(places) > n_before:
        weights = np.append(weights, np.ones(len(places) - n_before, dtype=np.float32))
    blend = live_vector(trained, bundle.item_vectors.take(recent, axis=0)[:, :-1], weights, live)
    unlike = known_rows(items, user.unlike)
    vector = None if blend is None else blend.vector
    if len(unlike):
        vector = pushed_away(vector, bundle.item_embeddings[unlike], live)
    pull = np.zeros(len(recent), dtype=np.float32) if blend is None else blend.recent_pull
    history = recent
    if len(past):
        before = without(past, recent)
        kept = 0.0 if blend is None else blend.trained_share
        history = np.concatenate([before, recent])
        pull = np.concatenate([np.full(len(before), kept / max(1, len(before)), dtype=np.float32), pull])
    anchors, anchor_weights = recent, weights
    if page >= 0:
        anchors, anchor_weights = np.array([page]), np.ones(1, dtype=np.float32)
    elif not len(recent):
        anchors = past[-max_recent:]
        anchor_weights = np.ones(len(anchors), dtype=np.float32)
    again = without(traces.again, at_hand)
    seen = np.concatenate([past, traces.seen]) if len(past) and hide_seen and not user.trained_again else traces.seen
    return Moment(
        bundle=bundle,
        request=request,
        page=page,
        viewed=viewed[viewed >= 0],
        seen=without(seen, again),
        again=again,
        history=history,
        pull=pull,
        excluded=np.concatenate([known_rows(items, request.exclude), unlike]) if request.exclude else unlike,
        query=Query(
            np.zeros(0, dtype=np.bool_),
            None if vector is None else np.concatenate([vector, ONE]),  # the items' priors count once
            anchors,
            anchor_weights,
            user.category,
        ),
    )


_closed: WeakKeyDictionary[Bundle, tuple[NDArray[np.bool_] | None, NDArray[np.bool_]]] = WeakKeyDictionary()
"""The latest of each bundle; most requests after one another share the array of what the rules allow."""


def closed_to(bundle: Bundle, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """What cannot be bought or is not allowed, bool [n_items], not to be written to."""
    known = _closed.get(bundle)
    if known is None or known[0] is not allowed:
        known = _closed[bundle] = allowed, ~bundle.available if allowed is None else ~(bundle.available & allowed)
    return known[1]


ONE = np.ones(1, dtype=np.float32)
MOST_KEPT = 8
"""Lists of candidates that a moment keeps."""


def _counted(scenario: str, standing: Standing) -> str:
    """The scenario whose counters hold for a request's, "" for those of everywhere."""
    return scenario if scenario in standing.scenarios else ""


def _newest(rows: list[int], most: int) -> list[int]:
    """Places of the newest different rows, rising; a row that comes again counts where it came last, -1 nowhere."""
    if -1 not in (newest := set(rows[-most:])) and len(newest) == most:  # as it mostly is
        return list(range(len(rows) - most, len(rows)))
    known, places = {-1}, list[int]()
    for place in range(len(rows) - 1, -1, -1):
        if rows[place] not in known:
            known.add(rows[place])
            places.append(place)
            if len(places) == most:
                break
    return places[::-1]


def hiding(query: Query, hidden: NDArray[np.bool_]) -> Query:
    """The query with this hidden from the answer."""
    return replace(query, hidden=hidden)
