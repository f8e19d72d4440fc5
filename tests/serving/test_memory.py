from __future__ import annotations

import time
import tracemalloc
from sys import intern

import pytest

from features.vocabulary import Vocabulary
from serving.events import Event, Past
from serving.memory import FRESH_S, LiveState, WorkerMemory
from serving.recent import Recent


def event(event_id: str, user_id: str = "u", item_id: str = "i") -> Event:
    return Event(event_id, user_id, item_id, "view", 1.0, None)


def memory(*, users_cap: int = 10, pending_cap: int = 10, recent_cap: int = 3) -> WorkerMemory:
    return WorkerMemory(users_cap=users_cap, pending_cap=pending_cap, recent_cap=recent_cap)


def test_events_move_to_the_end_of_a_capped_list_while_all_stay_seen() -> None:
    held = memory(recent_cap=2)
    held.happened([event("1", item_id="a"), event("2", item_id="b"), event("3", item_id="c")])
    assert [past.item_id for past in held.state("u").recent] == ["b", "c"]
    assert set(held.state("u").seen) == {"a", "b", "c"}


def test_the_user_asked_for_longest_ago_is_forgotten_first() -> None:
    held = memory(users_cap=2)
    held.happened([event("1", "u1"), event("2", "u2")])
    held.state("u1")
    held.happened([event("3", "u3")])
    assert held.state("u2") == LiveState()
    assert held.state("u1").recent
    assert held.state("u3").recent


def with_history(user_id: str, *, recent: int, seen: int) -> LiveState:
    """A state whose ids many users share."""
    events = Recent.of_events(event(f"{user_id}-{n}", user_id, item_id=f"i{n}") for n in range(recent))
    return LiveState(events, {intern(f"i{n}"): 1000.0 + n for n in range(seen)}, {}, {"tier": (f"gold {user_id}",)})


def test_users_with_long_histories_are_fewer_than_the_cap_so_that_memory_is_bounded_by_bytes() -> None:
    held = WorkerMemory(users_cap=10, pending_cap=10, recent_cap=500, bytes_cap=100_000)
    for user in range(10):
        held.remember(f"short {user}", with_history(f"short {user}", recent=2, seen=2), b"stamp")
    assert held.n_bytes == 10 * (1_500 + 57 * 4 + 160)
    for user in range(3):
        held.remember(f"long {user}", with_history(f"long {user}", recent=200, seen=400), b"stamp")
        held.remember(f"long {user}", with_history(f"long {user}", recent=200, seen=400), b"stamp")  # counts once
    assert held.n_bytes == 2 * (1_500 + 57 * 600 + 160)  # a third would be too much, though the short ones went first
    assert held.state("long 0") == LiveState()
    assert not held.stamped("long 0")
    assert [len(held.state(f"long {user}").seen) for user in (1, 2)] == [400, 400]
    held.remember("longest", with_history("longest", recent=200, seen=4_000), b"stamp")
    assert held.stamped("longest")  # alone past the cap, and the one who is here
    held.forget("longest")
    assert held.n_bytes == 0


@pytest.mark.parametrize(("recent", "seen"), [(10, 10), (200, 200), (200, 1_000)])
def test_the_memory_of_a_state_is_told_to_a_fifth(recent: int, seen: int) -> None:
    items = Vocabulary(tuple(f"i{n}" for n in range(1_000)))
    shared = [intern(f"i{n}") for n in range(1_000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        states = [with_history(f"u{user}", recent=recent, seen=seen) for user in range(50)]
        for state in states:
            state.rows(items).traces(2_000.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shared) == 1_000
    assert (after - before) / 50 == pytest.approx(states[0].approx_bytes, rel=0.2)


def test_an_event_held_twice_is_held_once() -> None:
    held = memory()
    assert held.hold([event("1"), event("1"), event("1", "other")]) == ([event("1"), event("1", "other")], 0)
    assert held.n_pending == 2
    assert len(held.state("u").recent) == 1


def test_past_the_cap_the_oldest_held_event_is_dropped_and_counted() -> None:
    held = memory(pending_cap=2)
    assert held.hold([event("1"), event("2"), event("3")])[1] == 1
    assert [one.event_id for one in held.held(10)] == ["2", "3"]
    assert [one.event_id for one in held.held_of("u")] == ["2", "3"]


def test_held_events_stay_until_applied_in_the_order_they_came() -> None:
    held = memory()
    held.hold([event("1"), event("2", "v"), event("3")])
    first = held.held(2)
    assert [one.event_id for one in first] == ["1", "2"]
    assert held.n_pending == 3
    held.applied(first)
    assert [one.event_id for one in held.held(10)] == ["3"]
    assert held.held_of("v") == []


def test_a_forgotten_user_leaves_neither_state_nor_held_events() -> None:
    held = memory()
    held.hold([event("1", "u"), event("2", "v")])
    held.forget("u")
    assert held.state("u") == LiveState()
    assert [one.user_id for one in held.held(10)] == ["v"]


def test_what_arrived_after_a_user_was_forgotten_is_a_new_beginning() -> None:
    held = memory()
    held.hold([event("1", "u", item_id="a")])
    forgotten = time.time()
    time.sleep(0.01)
    held.hold([event("2", "u", item_id="b")])
    held.forget("u", at=forgotten)
    assert [one.event_id for one in held.held(10)] == ["2"]
    assert [past.item_id for past in held.state("u").recent] == ["b"]
    assert set(held.state("u").seen) == {"b"}


def test_an_entry_of_the_recent_list_reads_back() -> None:
    entries = [event("1", item_id="é").entry(), b'["a","view",2.0]']  # the second from before ids were kept
    recent = Recent.of_entries(entries)
    assert list(recent) == [recent[0], recent[1]] == [Past("é", "view", 1.0), Past("a", "view", 2.0)]
    assert recent.unknown([event("1"), event("2")]) == [event("2")]
    assert Recent.of_entries([]) == Recent.of_events([]) == Recent()
    assert recent == Recent.of_entries(entries) != Recent.of_entries([event("2", item_id="é").entry(), entries[1]])


def test_an_event_held_and_applied_at_the_same_moment_counts_once() -> None:
    read = LiveState(Recent.of_events([event("1", item_id="a")]), {"a": 1.0})
    state = read.after([event("1", item_id="a"), event("2", item_id="b")], recent_cap=3, purchases=())
    assert [past.item_id for past in state.recent] == ["a", "b"]
    assert set(state.seen) == {"a", "b"}


def test_what_was_bought_is_known_apart_with_the_time_of_the_last_purchase() -> None:
    held = WorkerMemory(users_cap=3, pending_cap=4, recent_cap=2, purchases=("purchase",))
    for event_id, kind, timestamp in (("1", "purchase", 5.0), ("2", "view", 9.0), ("3", "purchase", 3.0)):
        held.hold([Event(event_id, "u", "a", kind, timestamp, None)])
    held.hold([Event("4", "u", "b", "view", 1.0, None)])
    assert held.state("u").bought == {"a": 5.0}
    assert held.state("u").seen == {"a": 9.0, "b": 1.0}


def test_a_remembered_state_holds_while_its_stamp_does_and_takes_in_the_events_applied_to_it() -> None:
    kept = memory()
    kept.remember("u", LiveState(Recent.of_events([event("1", item_id="a")]), {"a": 1.0}), b"s0")
    assert kept.known("u", b"s1") is None
    kept.applied_to(event("2", item_id="b"), b"s0", b"s1")
    state = kept.known("u", b"s1")
    assert state is not None
    assert [past.item_id for past in state.recent] == ["a", "b"]
    assert kept.known("u", b"s0") is None


def test_of_a_user_of_whom_nothing_is_known_nothing_is_remembered() -> None:
    kept = memory()
    for number in range(20):  # the shop took back all that it had said of them, which leaves a stamp
        kept.remember(f"u{number}", LiveState(), b"s0")
    assert not any(kept.stamped(f"u{number}") for number in range(20))


def test_a_remembered_state_is_read_anew_after_events_of_another_worker() -> None:
    kept = memory()
    kept.remember("u", LiveState(Recent.of_events([event("1", item_id="a")]), {"a": 1.0}), b"s0")
    kept.applied_to(event("3", item_id="c"), b"of another", b"s2")
    assert kept.known("u", b"s2") is None
    assert not kept.stamped("u")
    assert [past.item_id for past in kept.state("u").recent] == ["a", "c"]  # for when Redis is away


def test_a_state_is_read_anew_once_redis_may_have_forgotten_some_of_what_was_seen() -> None:
    kept = WorkerMemory(users_cap=2, pending_cap=2, recent_cap=3, seen_cap=1)
    kept.remember("u", LiveState(Recent.of_events([event("1", item_id="a")]), {"a": 1.0}), b"s0")
    kept.applied_to(event("2", item_id="b"), b"s0", b"s1")
    assert kept.known("u", b"s1") is None


def test_a_state_is_read_anew_after_a_while_as_parts_of_it_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = memory()
    kept.remember("u", LiveState(Recent.of_events([event("1", item_id="a")]), {"a": 1.0}), b"s0")
    assert kept.known("u", b"s0") is not None
    later = time.monotonic() + FRESH_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert kept.known("u", b"s0") is None
