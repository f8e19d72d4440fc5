"""What a worker remembers by itself, so that a feed still reacts while Redis is away.

Two bounded things: the latest known state of the users who asked or acted lately, and the events that Redis has not
taken yet. A state is kept with its stamp in Redis: while that is still the stamp, the state need not be read again, and
an event that this worker had Redis apply to it is added here. Each worker has its own; with several workers and no
Redis, a shopper whose requests reach another worker meets a feed that has not heard of the last clicks. Nothing is
lost: held events are applied when Redis is back, in the order in which they came, and their ids make sure that none
counts twice.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import intern

from features.vocabulary import Vocabulary
from serving.events import Event
from serving.recent import Recent
from serving.state_rows import StateRows
from serving.steady import until_s

FRESH_S = 60.0
"""A state is read anew after so long at most though its stamp is the same: parts of it may have outlived their time."""
USER_BYTES = 30_000
"""A state of 200 recent events and 300 items met or bought."""
STATE_BYTES, ENTRY_BYTES, VALUE_BYTES = 1_500, 57, 160
"""What a state takes of a process: by itself, for each recent event and each item met or bought, and for each value of
an attribute; ids are shared by all users who have them. Within a tenth of what tracemalloc finds, from 10 to 500 events
and up to 1,000 items met and bought."""


@dataclass(frozen=True)
class LiveState:
    """What is known of a user right now.

    Args:
        recent: events, newest last.
        seen: items the user had to do with, and when last, UTC seconds.
        bought: those bought, and when last.
        attributes: what the shop says of the user, name to values.
    """

    recent: Recent = Recent()  # noqa: RUF009 - an immutable one
    seen: Mapping[str, float] = field(default_factory=dict)
    bought: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _rows: list[StateRows] = field(default_factory=list, init=False, compare=False, repr=False)
    """Of one catalog, once they are asked for."""

    @property
    def approx_bytes(self) -> int:
        """About how much memory the state takes, with its rows of a catalog."""
        n_values = sum(map(len, self.attributes.values()))
        n_entries = len(self.recent) + len(self.seen) + len(self.bought)
        return STATE_BYTES + ENTRY_BYTES * n_entries + VALUE_BYTES * n_values

    def rows(self, items: Vocabulary) -> StateRows:
        """The state in rows of a catalog."""
        if not self._rows or self._rows[0].items() is not items:
            self._rows[:] = [StateRows.of(items, self.recent, self.seen.keys() | self.bought.keys())]
        return self._rows[0]

    def after(self, events: Iterable[Event], *, recent_cap: int, purchases: Collection[str]) -> LiveState:
        """The state once these events have happened; those that are among the recent ones already change nothing.

        Args:
            events: what happened.
            recent_cap: recent events kept.
            purchases: event types that mean buying.
        """
        new = self.recent.unknown(event for event in events if event.tells_taste)
        added = Recent.of_events(new)
        recent = self.recent.then(added, recent_cap)
        bought = (event for event in new if event.event_type in purchases)
        state = replace(self, recent=recent, seen=_later(self.seen, new), bought=_later(self.bought, bought))
        if self._rows:
            first = (one for one in dict.fromkeys(added.items) if one not in self.seen and one not in self.bought)
            rows = self._rows[0].after(recent, added, first)
            state._rows.extend(() if rows is None else (rows,))
        return state


def _later(known: Mapping[str, float], events: Iterable[Event]) -> Mapping[str, float]:
    """Items with the time of their last event."""
    times = dict(known)
    for event in events:
        times[intern(event.item_id)] = max(times.get(event.item_id, 0.0), event.timestamp)
    return times


class WorkerMemory:
    """Bounded memory of users and of events to be applied later.

    Args:
        users_cap: users remembered; the one asked for longest ago goes first.
        pending_cap: events held; the oldest goes first.
        recent_cap: events remembered per user.
        bytes_cap: memory of the users remembered, about; None: `USER_BYTES` for each that may be.
        seen_cap: items per user that Redis remembers; which of more it forgets, only it knows.
        purchases: event types that mean buying.
    """

    def __init__(
        self,
        *,
        users_cap: int,
        pending_cap: int,
        recent_cap: int,
        bytes_cap: int | None = None,
        seen_cap: int = 1_000,
        purchases: Collection[str] = (),
    ) -> None:
        self._users: OrderedDict[str, LiveState] = OrderedDict()
        self._stamps: dict[str, tuple[bytes, float]] = {}
        self._pending: OrderedDict[tuple[str, str], Event] = OrderedDict()
        self._arrived: dict[tuple[str, str], float] = {}
        self._pending_of: dict[str, dict[str, Event]] = {}
        self._users_cap = users_cap
        self._bytes, self._bytes_cap = 0, users_cap * USER_BYTES if bytes_cap is None else bytes_cap
        self._pending_cap = pending_cap
        self._recent_cap = recent_cap
        self._seen_cap = seen_cap
        self._purchases = frozenset(purchases)

    def state(self, user_id: str) -> LiveState:
        """The last known state; an empty one for a stranger."""
        if user_id in self._users:
            self._users.move_to_end(user_id)
        return self._users.get(user_id, LiveState())

    def stamped(self, user_id: str) -> bool:
        """Whether a state is kept that may still be the one in Redis."""
        return user_id in self._stamps

    def known(self, user_id: str, stamp: bytes | None) -> LiveState | None:
        """A user's state in Redis, whose stamp this is there; None where it must be read."""
        kept, read_s = self._stamps.get(user_id, (None, 0.0))
        if kept is None or kept != stamp or time.monotonic() >= until_s(read_s, FRESH_S):
            return None
        return self.state(user_id)

    def remember(self, user_id: str, state: LiveState, stamp: bytes | None = None) -> None:
        """Keep what Redis said, under a stamp not younger than it; of a user of whom nothing is known, nothing."""
        self._drop(user_id)
        if state == LiveState():
            return
        if stamp is not None:
            self._stamps[user_id] = stamp, time.monotonic()
        self._users[user_id] = state
        self._bytes += state.approx_bytes
        while len(self._users) > self._users_cap or (self._bytes > self._bytes_cap and len(self._users) > 1):
            self._drop(next(iter(self._users)))

    def _drop(self, user_id: str) -> None:
        """Remember a user no longer."""
        self._stamps.pop(user_id, None)
        state = self._users.pop(user_id, None)
        self._bytes -= 0 if state is None else state.approx_bytes

    def happened(self, events: Sequence[Event]) -> None:
        """Let events change the remembered states."""
        for event in events:
            self.remember(event.user_id, self.after(self.state(event.user_id), [event]))

    def applied_to(self, event: Event, before: bytes | None, after: bytes) -> None:
        """Let an event that Redis has applied change the remembered state; stamps are those of `Applied`."""
        kept, read_s = self._stamps.get(event.user_id, (None, 0.0))
        self.happened([event])
        state = self._users.get(event.user_id, LiveState())
        whole = event.tells_taste and max(len(state.seen), len(state.bought)) <= self._seen_cap
        if kept is not None and kept == before and whole:
            self._stamps[event.user_id] = after, read_s

    def after(self, state: LiveState, events: Iterable[Event]) -> LiveState:
        """`LiveState.after`, by this memory's cap and its notion of buying."""
        return state.after(events, recent_cap=self._recent_cap, purchases=self._purchases)

    def hold(self, events: Sequence[Event]) -> tuple[list[Event], int]:
        """Keep events until Redis is back, and let them change the remembered states.

        Returns:
            Those that were not already held, and how many older ones were dropped to make room.
        """
        new: list[Event] = []
        dropped = 0
        for event in events:
            key = (event.user_id, event.event_id)
            if key in self._pending:
                continue
            new.append(event)
            self._pending[key] = event
            self._arrived[key] = time.time()
            self._pending_of.setdefault(event.user_id, {})[event.event_id] = event
            self.happened([event])
            if len(self._pending) > self._pending_cap:
                self.applied([next(iter(self._pending.values()))])
                dropped += 1
        return new, dropped

    def held(self, n: int) -> list[Event]:
        """The oldest `n` held events, which stay held until `applied`."""
        return [event for event, _ in zip(self._pending.values(), range(n), strict=False)]

    def held_of(self, user_id: str) -> list[Event]:
        """A user's held events, oldest first."""
        return list(self._pending_of.get(user_id, {}).values())

    def applied(self, events: Iterable[Event]) -> None:
        """These events need not be held any more."""
        for event in events:
            key = (event.user_id, event.event_id)
            self._pending.pop(key, None)
            self._arrived.pop(key, None)
            of_user = self._pending_of.get(event.user_id, {})
            of_user.pop(event.event_id, None)
            if not of_user:
                self._pending_of.pop(event.user_id, None)

    def forget(self, user_id: str, *, at: float = math.inf) -> None:
        """Drop a user's state and the held events that had arrived by then.

        Args:
            user_id: whom to forget.
            at: UTC seconds of the deletion; events that arrived later are a new beginning, and stay.
        """
        self._drop(user_id)
        self.applied([event for event in self.held_of(user_id) if self._arrived[user_id, event.event_id] <= at])
        self.happened(self.held_of(user_id))

    def held_since(self) -> float | None:
        """When the oldest held event arrived, UTC seconds; None where none is held."""
        return next(iter(self._arrived.values()), None)

    @property
    def n_bytes(self) -> int:
        """About how much memory the users take that are remembered."""
        return self._bytes

    @property
    def n_pending(self) -> int:
        """Events held."""
        return len(self._pending)
