"""A user's state in rows: what events add to it is what looking all of it up would say."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from features.vocabulary import Vocabulary
from recsys.recommendation import UserState
from recsys.rules.seen import Known
from recsys.traces import Traces
from serving.answers import user_state
from serving.events import Event
from serving.memory import LiveState
from serving.state_rows import STEADY_S

ITEMS = Vocabulary(tuple(f"i{row}" for row in range(12)))


def happened(rng: np.random.Generator, number: int) -> Event:
    item_id = f"i{rng.integers(15)}"  # some are not in the catalog
    event_type = ("view", "purchase", "viewable")[int(rng.integers(3))]
    return Event(f"e{number}", "u", item_id, event_type, float(rng.integers(50)), None)


@pytest.mark.parametrize("seed", range(20))
def test_rows_kept_through_any_events_are_those_of_a_state_looked_up_as_a_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = LiveState()
    for number in range(60):
        if rng.random() < 0.7:
            state.rows(ITEMS)  # kept from here on
        batch = [happened(rng, 3 * number + one) for one in range(int(rng.integers(1, 4)))]
        state = state.after(batch, recent_cap=10, purchases=("purchase",))
        kept = state.rows(ITEMS)
        whole = LiveState(state.recent, state.seen, state.bought).rows(ITEMS)
        np.testing.assert_array_equal(kept.recent, whole.recent)
        np.testing.assert_array_equal(kept.times_s, whole.times_s)
        assert sorted(kept.met.tolist()) == sorted(whole.met.tolist())


def test_rows_belong_to_one_catalog() -> None:
    state = LiveState().after([Event("e", "u", "i3", "view", 1.0, None)], recent_cap=5, purchases=())
    assert state.rows(ITEMS).recent.tolist() == [3]
    assert state.rows(Vocabulary(("i3",))).recent.tolist() == [0]
    assert state.rows(ITEMS).met.tolist() == [3]


def test_a_remembered_user_keeps_no_catalog_that_was_left() -> None:
    left = Vocabulary(ITEMS.ids)
    state = LiveState().after([Event("e", "u", "i3", "view", 1.0, None)], recent_cap=5, purchases=())
    state.rows(left)
    alive = weakref.ref(left)
    del left
    assert alive() is None
    state = state.after([Event("f", "u", "i5", "view", 2.0, None)], recent_cap=5, purchases=())
    assert state.rows(ITEMS).recent.tolist() == [3, 5]


def test_a_user_is_told_by_time_and_all_that_was_met_is_seen_unless_it_may_come_again() -> None:
    events = [
        Event("1", "u", "i1", "view", 30.0, None),
        Event("2", "u", "i2", "view", 10.0, None),  # arrived late
        Event("3", "u", "gone", "view", 20.0, None),
    ]
    state = LiveState().after(events, recent_cap=5, purchases=())
    traces = user_state(ITEMS, "u", state).traces
    assert traces is not None
    assert traces.viewed.tolist() == [2, -1, 1]
    assert np.all(np.diff(traces.ages_s) < 0)
    assert sorted(traces.seen.tolist()) == [1, 2]
    assert traces.again.tolist() == []
    sorted_out = user_state(ITEMS, "u", state, Known(frozenset({"i2"}), {"i1": 0.5})).traces
    assert sorted_out is not None
    assert (sorted_out.seen.tolist(), sorted_out.again.tolist()) == ([2], [1])


def test_a_user_who_does_nothing_is_told_as_of_one_moment_for_a_minute() -> None:
    state = LiveState().after([Event("e", "u", "i3", "view", 1_000.0, None)], recent_cap=5, purchases=())
    rows = state.rows(ITEMS)
    told = rows.traces(1_010.0)
    assert (told.ages_s.tolist(), told.at_s) == ([10.0], 1_010.0)
    assert rows.traces(1_010.0 + STEADY_S - 1) is told
    later = rows.traces(1_010.0 + STEADY_S)
    assert (later.ages_s.tolist(), later.at_s) == ([10.0 + STEADY_S], 1_010.0 + STEADY_S)
    assert rows.traces(1_000.0).ages_s.tolist() == [0.0]  # a clock that was put back
    state = state.after([Event("f", "u", "i5", "view", 1_001.0, None)], recent_cap=5, purchases=())
    assert state.rows(ITEMS).traces(1_011.0).ages_s.tolist() == [11.0, 10.0]


def test_what_is_viewed_now_has_no_age_and_does_not_come_again() -> None:
    before = Traces.of(ITEMS, ("i1", "i2"), (9.0, 4.0), again=("i3", "i4"))
    after = before.then(np.array([3, -1]))
    assert after.viewed.tolist() == [1, 2, 3, -1]
    assert after.ages_s.tolist() == [9.0, 4.0, 0.0, 0.0]
    assert after.again.tolist() == [4]
    assert Traces.of(ITEMS, ("i1", "i2")).then(np.array([3])).ages_s.tolist() == []  # still not known


def test_a_state_told_by_ids_and_by_traces_is_refused() -> None:
    with pytest.raises(ValueError, match="must be told by ids or by traces, got both"):
        UserState("u", recent_items=("i1",), traces=Traces())
