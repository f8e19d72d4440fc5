"""What users do and what is said of them, against dictionaries."""

from __future__ import annotations

import time

import hypothesis.strategies as st
from hypothesis.stateful import invariant, rule

from serving.erasing import Eraser
from serving.events import Event
from tests.serving.store_machine.machine import BOUGHT_TTL_S, EVENTS, ID_TTL_S, SETTINGS, TASTE_TTL_S, USERS, Machine


class Users(Machine):
    """Events happen and are read; users are described, forgotten and erased."""

    @rule(events=EVENTS, worker=st.integers(0, 1))
    def happen(self, events: list[tuple[str, str, str, str, int]], worker: int) -> None:
        given = [Event(name, user, item, kind, float(at), None) for user, item, kind, name, at in events]
        wanted = []
        for one in given:
            mark = (one.user_id, one.event_id)
            wanted.append(mark not in self.applied)
            if not wanted[-1]:
                continue
            self.applied.add(mark)
            self.stream.append(mark)
            if one.event_type != "viewable":
                entry = (one.item_id, one.event_type, one.timestamp, one.event_id)
                self.recent[one.user_id] = [*self.recent.get(one.user_id, []), entry][-SETTINGS.recent_cap :]
                self.note(self.seen, one)
            if one.event_type == "buy":
                self.note(self.bought, one)
        became = self.run(self.store.apply(given))
        assert [one.new for one in became] == wanted
        for event, one in zip(given, became, strict=True):
            if one.after is not None:
                self.workers[worker].applied_to(event, one.before, one.after)

    @rule(user_id=USERS, worker=st.integers(0, 1))
    def read_and_remember(self, user_id: str, worker: int) -> None:
        read = self.run(self.store.user(user_id))
        self.workers[worker].remember(user_id, read.state, read.stamp)

    @rule(user_id=USERS, tier=st.sampled_from([(), ("gold",), ("a", "b")]), whole=st.booleans())
    def describe(self, user_id: str, tier: tuple[str, ...], whole: bool) -> None:
        self.run(self.store.describe({user_id: {"tier": tier, "city": ("x",)}}, whole=whole))
        known = {} if whole else self.profile.get(user_id, {})
        said = {**known, "tier": tier, "city": ("x",)}
        self.profile[user_id] = {name: values for name, values in said.items() if values}

    @rule(user_id=USERS)
    def forget(self, user_id: str) -> None:
        self.run(self.store.forget(user_id))
        for kept in (self.recent, self.seen, self.bought, self.profile):
            kept.pop(user_id, None)
        self.to_erase[user_id] = len(self.stream)
        self.forgotten.append(user_id)
        time.sleep(0.003)  # entries are told apart by the millisecond

    @rule()
    def erase(self) -> None:
        gone = [place for place, (user, _) in enumerate(self.stream) if place < self.to_erase.get(user, 0)]
        assert self.run(Eraser(self.store, every_s=1).work()) == len(gone)
        self.stream = [one for place, one in enumerate(self.stream) if place not in gone]
        self.to_erase = {}

    @invariant()
    def users_are_as_their_events_say(self) -> None:
        for user_id in ("u0", "u1", "v{1}"):
            read = self.run(self.store.user(user_id))
            state = read.state
            for worker in self.workers:  # what a worker takes for current is what it would read
                assert worker.known(user_id, read.stamp) in (None, state)
            told = [(*past, mark) for past, mark in zip(state.recent, state.recent.marks.tolist(), strict=True)]
            happened = self.recent.get(user_id, [])
            assert told == [(*past, hash(event_id)) for *past, event_id in happened]
            assert self.client.llen(self.keys.recent(user_id)) == len(told)
            assert state.seen == self.seen.get(user_id, {})
            assert state.bought == self.bought.get(user_id, {})
            assert state.attributes == self.profile.get(user_id, {})
            for name, ttl_s in (("recent", TASTE_TTL_S), ("seen", TASTE_TTL_S), ("bought", BOUGHT_TTL_S)):
                left = self.client.ttl(getattr(self.keys, name)(user_id))
                assert (0 < left <= ttl_s) if user_id in getattr(self, name) else left == -2
        marks = {
            self.keys.event(user, name): self.client.ttl(self.keys.event(user, name)) for user, name in self.applied
        }
        assert all(0 < left <= ID_TTL_S for left in marks.values())

    @invariant()
    def the_stream_holds_every_event_once(self) -> None:
        found = [
            (fields[b"user_id"].decode(), fields[b"event_id"].decode()) for _, fields in self.client.xrange("rs:events")
        ]
        assert found == self.stream

    def note(self, kept: dict[str, dict[str, float]], one: Event) -> None:
        """The latest time of each item; past the cap those of the earliest times go, of equal times the lower id."""
        times = kept.setdefault(one.user_id, {})
        times[one.item_id] = max(times.get(one.item_id, 0.0), one.timestamp)
        for item, _ in sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[: -SETTINGS.seen_cap]:
            del times[item]
