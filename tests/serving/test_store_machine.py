"""The store against plain dictionaries: whatever is published, said, done and forgotten, in whatever order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving import versions
from serving.entries import blocks, entries_of
from serving.erasing import Eraser
from serving.events import Event
from serving.items.said import PLAIN, Said
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.memory import WorkerMemory
from serving.publishing import Publisher
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry

SETTINGS = Settings(redis_timeout_s=10.0, recent_cap=3, seen_cap=2, purchase_types=("buy",))
KEEP = 1
TASTE_TTL_S, BOUGHT_TTL_S, ID_TTL_S = SETTINGS.user_ttl_s, SETTINGS.bought_ttl_s, SETTINGS.event_id_ttl_s
USERS, ITEMS = st.sampled_from(["u0", "u1", "v{1}"]), st.sampled_from(["i0", "i1", "i2", "new"])
FIELDS = st.fixed_dictionaries(
    {}, optional={"title": st.sampled_from(["Item 0", "Item 1", "other"]), "price": st.sampled_from([None, 1.5])}
)
ACTIVE = st.sampled_from(["u0", "u0", "u0", "u1", "v{1}"])
KINDS = st.sampled_from(["view", "buy", "buy", "viewable"])
EVENTS = st.lists(
    st.tuples(ACTIVE, ITEMS, KINDS, st.sampled_from("abcdefgh"), st.integers(1, 3)), min_size=1, max_size=12
)


class StoreMachine(RuleBasedStateMachine):
    """Every rule does one thing to the store and the same to dictionaries; every invariant reads the store."""

    redis: Any
    models: Sequence[Bundle]
    folder: Path
    made: Sequence[dict[str, bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.client = self.redis.client()
        self.client.flushall()
        self.loop = asyncio.new_event_loop()
        self.store = Store(self.redis.url, SETTINGS, Telemetry())
        self.store.mark_up()
        self.workers = [
            WorkerMemory(users_cap=2, pending_cap=1, recent_cap=3, seen_cap=2, purchases=("buy",)) for _ in range(2)
        ]
        self.shelf, self.keys = ItemShelf(self.store), Keys()
        self.publisher = Publisher(self.client, state_dir=self.folder, keep=KEEP)
        self.current: str | None = None
        self.before: dict[str, str | None] = {}  # of each version that is kept, the one it replaced
        self.tried: str | None = None
        self.said: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []
        self.looked = "0-0"
        self.applied: set[tuple[str, str]] = set()
        self.recent: dict[str, list[tuple[str, str, float, str]]] = {}
        self.seen: dict[str, dict[str, float]] = {}
        self.bought: dict[str, dict[str, float]] = {}
        self.profile: dict[str, dict[str, tuple[str, ...]]] = {}
        self.stream: list[tuple[str, str]] = []
        self.to_erase: dict[str, int] = {}
        self.forgotten: list[str] = []

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(story)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.client.close()

    @initialize()
    def begin(self) -> None:
        self.publish(0)

    @rule(which=st.integers(0, 2))
    def publish(self, which: int) -> None:
        version = self.models[which].version
        done = self.publisher.publish(self.models[which])
        if version == self.current:
            assert done.n_keys == 0
            return
        assert done.previous == self.current
        self.before[version] = self.current
        self.current = version
        self.retire()
        self.tried = None if self.tried == version else self.tried
        self.prune([one for one in self.models if one.version in self.whole])

    @rule()
    def roll_back(self) -> None:
        to = self.before.get(self.current or "")
        if to not in self.before:
            with pytest.raises(InputError):
                self.publisher.rollback()
        else:
            assert self.publisher.rollback() == (self.current, to)
            self.current = to
            self.tried = None if self.tried == to else self.tried

    @rule(which=st.integers(0, 2))
    def try_a_version(self, which: int) -> None:
        version = self.models[which].version
        if version == self.current:
            with pytest.raises(InputError, match="current already"):
                self.publisher.shadow(self.models[which], 0.5)
        else:
            self.publisher.shadow(self.models[which], 0.5)
            if self.tried not in (None, version):
                self.retire()
            self.tried = version

    @rule()
    def end_the_trial(self) -> None:
        if self.tried is None:
            with pytest.raises(InputError, match="nothing to stop"):
                self.publisher.end_shadow()
        else:
            assert self.publisher.end_shadow() == self.tried
            self.retire()
            self.tried = None

    @precondition(lambda self: len(self.before) > 1)
    @rule()
    def roll_back_to_a_broken_version(self) -> None:
        to = self.before.get(self.current or "")
        if to not in self.before:
            return
        name = self.keys.similar(to, "i0")
        value = self.client.getdel(name)
        with pytest.raises(InputError, match="lacks keys"):
            self.publisher.rollback()
        self.client.set(name, value)

    @rule(which=st.integers(0, 2))
    def publish_into_a_server_without_room(self, which: int) -> None:
        if self.models[which].version not in (self.current, self.tried):
            with pytest.raises(InputError, match="budget"):
                Publisher(self.client, state_dir=self.folder, keep=KEEP, memory_budget=1).publish(self.models[which])

    @rule(item_id=ITEMS, fields=FIELDS, picture=st.booleans())
    def put(self, item_id: str, fields: dict[str, Any], picture: bool) -> None:
        self.say(item_id, Said(whole=True, fields=fields), {item_id: b"picture"} if picture else {})
        self.said[item_id] = {"whole": True, "deleted": False, "fields": dict(fields), "picture": picture}

    @rule(item_id=ITEMS, fields=FIELDS)
    def patch(self, item_id: str, fields: dict[str, Any]) -> None:
        if not fields:
            return
        self.say(item_id, Said(fields=fields), {})
        known = self.said.setdefault(item_id, {"whole": False, "deleted": False, "fields": {}, "picture": False})
        known["fields"] |= fields

    @rule(item_id=ITEMS)
    def delete(self, item_id: str) -> None:
        self.say(item_id, Said(deleted=True), {})
        self.said[item_id] = {"whole": False, "deleted": True, "fields": {}, "picture": False}

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
        assert self.run(Eraser(self.store).work()) == len(gone)
        self.stream = [one for place, one in enumerate(self.stream) if place not in gone]
        self.to_erase = {}

    @rule()
    def look_for_changes(self) -> None:
        found, self.looked = self.run(self.shelf.since(self.looked))
        assert found == list(dict.fromkeys(self.changed))
        self.changed = []

    @invariant()
    def versions_are_whole_or_gone(self) -> None:
        assert self.publisher.current() == self.current
        assert self.client.smembers(self.keys.versions) == {version.encode() for version in self.whole}
        stored = {
            name: self.client.get(name)
            for kind in ("sim", "item", "feed")
            for name in self.client.scan_iter(f"rs:*:{kind}:*", count=1000)
        }
        kept = [(one, made) for one, made in zip(self.models, self.made, strict=True) if one.version in self.whole]
        assert stored == {name.encode(): value for _, made in kept for name, value in made.items()}

    @invariant()
    def a_worker_reads_what_is_current(self) -> None:
        version, forgotten = self.run(self.store.probe("0-0"))
        assert version == self.current
        assert [user for _, user in forgotten] == self.forgotten
        made = next(made for one, made in zip(self.models, self.made, strict=True) if one.version == version)
        assert self.run(self.store.similar(version, "i0")) == made[self.keys.similar(version, "i0")]
        assert self.run(self.store.user("u0", version)).published == made[self.keys.feed(version, "u0")]

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

    @invariant()
    def items_are_as_they_were_said(self) -> None:
        found, _ = self.run(self.shelf.every())
        told = {
            one: {"whole": said.whole, "deleted": said.deleted, "fields": dict(said.fields)}
            for one, said in found.items()
        }
        assert told == {one: {k: v for k, v in said.items() if k != "picture"} for one, said in self.said.items()}
        for item_id in ("i0", "i1", "i2", "new"):
            wanted = b"picture" if self.said.get(item_id, {}).get("picture") else None
            assert self.run(self.shelf.picture(item_id, "")) == wanted

    @property
    def whole(self) -> set[str]:
        """Versions that have keys: those that a rollback may return to, and the one that is tried."""
        return set(self.before) | ({self.tried} - {None})

    def retire(self) -> None:
        """What a rollback has left goes with the next version that goes."""
        kept = [self.current, self.before[self.current or ""]][: KEEP + 1]
        self.before = {one: of for one, of in self.before.items() if one in kept}

    def say(self, item_id: str, said: Said, pictures: dict[str, bytes]) -> None:
        self.run(self.shelf.write({item_id: said}, pictures))
        self.changed.append(item_id)

    def note(self, kept: dict[str, dict[str, float]], one: Event) -> None:
        """The latest time of each item; past the cap those of the earliest times go, of equal times the lower id."""
        times = kept.setdefault(one.user_id, {})
        times[one.item_id] = max(times.get(one.item_id, 0.0), one.timestamp)
        for item, _ in sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[: -SETTINGS.seen_cap]:
            del times[item]

    def prune(self, kept: list[Bundle]) -> None:
        """Drop what all kept bundles say by themselves."""
        for item_id, said in list(self.said.items()):
            same = []
            for bundle in kept:
                if item_id not in bundle.items:
                    same.append(said["deleted"])
                    continue
                own = {**PLAIN, **bundle.display(bundle.items.idx(item_id))}
                shown = {**(PLAIN if said["whole"] else own), **said["fields"]}
                plain = [
                    {name: None if value in ("", None, {}) else value for name, value in of.items()}
                    for of in (own, shown)
                ]
                same.append(not said["deleted"] and all(plain[0][name] == plain[1][name] for name in PLAIN))
            if all(same):
                del self.said[item_id]


def test_the_store_is_what_plain_dictionaries_would_be(
    redis_server: Any, make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "RETIRE_S", 0)  # what expires is gone at once
    bundles = [make_bundle(np.eye(4)[:n] * (n + turn), users=np.eye(4)[:2]) for n, turn in ((4, 0), (4, 1), (3, 0))]
    made = [
        dict(
            entry for block in blocks(bundle) for entry in entries_of(block, bundle, BundleRecommender(bundle), Keys())
        )
        for bundle in bundles
    ]
    kind = type(
        "Machine",
        (StoreMachine,),
        {"redis": redis_server, "models": bundles, "folder": tmp_path / "state", "made": made},
    )
    quick = settings(
        max_examples=18,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # what fails is short already, and to make it shorter takes minutes
        suppress_health_check=list(HealthCheck),
    )
    with ThreadPoolExecutor(1) as thread:  # a browser's event loop may hold this one
        thread.submit(run_state_machine_as_test, kind, settings=quick).result()
