from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serving.events import Event, Refusal, accept
from serving.keys import Keys
from serving.memory import LiveState, WorkerMemory
from serving.recent import Recent
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry

NOW = 1.7e9
GOOD: dict[str, Any] = {"user_id": "u1", "item_id": "i1", "event_type": "view"}


def test_an_event_without_id_and_time_gets_both() -> None:
    accepted = accept(GOOD, 0, known_item=True, now=NOW)
    assert isinstance(accepted, Event)
    assert accepted.timestamp == NOW
    assert len(accepted.event_id) == 32
    again = accept(GOOD, 0, known_item=True, now=NOW)
    assert isinstance(again, Event)
    assert again.event_id != accepted.event_id


@pytest.mark.parametrize(
    ("change", "rule", "value"),
    [
        ({"user_id": ""}, "user_id must have 1 to 256 characters", ""),
        ({"user_id": "x" * 300}, "user_id must have 1 to 256 characters", "x" * 257),
        ({"event_type": "a\nb"}, "event_type must hold printable characters", "a\nb"),
        ({"event_type": "Purchase"}, "event_type must be in lower case", "Purchase"),
        ({"event_type": "view "}, "event_type must be in lower case, with no blanks", "view "),
        ({"event_type": "beside:view"}, "event_type must not begin with beside: or fact:", "beside:view"),
        ({"user_id": " u1"}, "user_id must have no blanks around it", " u1"),
        ({"recommendation_id": "r1 "}, "recommendation_id must have no blanks around it", "r1 "),
        ({"timestamp": NOW + 90_000.0}, "timestamp must be UTC seconds", NOW + 90_000.0),
        ({"timestamp": 631_151_999.0}, "timestamp must be UTC seconds, not before 1990", 631_151_999.0),
    ],
)
def test_a_bad_event_is_refused_with_its_place_rule_and_value(change: dict[str, Any], rule: str, value: object) -> None:
    refused = accept({**GOOD, **change}, 4, known_item=True, now=NOW)
    assert isinstance(refused, Refusal)
    assert (refused.index, refused.value) == (4, value)
    assert refused.rule.startswith(rule)


def test_no_time_that_is_not_a_number_is_taken() -> None:
    for timestamp in (float("nan"), float("inf")):
        assert isinstance(accept({**GOOD, "timestamp": timestamp}, 0, known_item=True, now=NOW), Refusal)


def test_an_unknown_item_is_refused_by_name() -> None:
    assert accept(GOOD, 2, known_item=False) == Refusal(2, "item_id must be in the catalog", "i1")


def test_events_of_one_turn_go_to_redis_together_and_what_two_requests_say_counts_once(
    redis_server: Any, run_apart: Callable[..., Any]
) -> None:
    one, other = (Event(name, "u", item_id, "view", 1.0, None) for name, item_id in (("a", "i1"), ("b", "i2")))

    async def ask() -> list[list[bool]]:
        store = Store(redis_server.url, Settings(redis_timeout_s=5.0), Telemetry())
        store.mark_up()
        try:
            applied = await asyncio.gather(store.apply([one]), store.apply([one, other]), store.apply([other]))
            return [[became.new for became in of_request] for of_request in applied]
        finally:
            await store.close()

    with redis_server.client() as client:
        client.config_resetstat()
        assert run_apart(ask()) == [[True], [False, True], [False]]
        assert client.llen(Keys().recent("u")) == 2
        calls = client.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] - calls.get("cmdstat_script|load", {"calls": 0})["calls"] == 1


def test_what_a_request_that_was_given_up_has_changed_is_not_taken_for_known(
    redis_server: Any, run_apart: Callable[..., Any]
) -> None:
    one, other = (Event(name, "u", item_id, "view", 1.0, None) for name, item_id in (("a", "i1"), ("b", "i2")))
    memory = WorkerMemory(users_cap=2, pending_cap=2, recent_cap=5)
    memory.remember("u", LiveState(Recent.of_events([Event("0", "u", "i0", "view", 0.0, None)])), b"s0")

    async def ask() -> tuple[bytes | None, bytes | None]:
        store = Store(redis_server.url, Settings(redis_timeout_s=5.0), Telemetry())
        store.mark_up()
        try:
            asked, given_up = (asyncio.ensure_future(store.apply([event])) for event in (one, other))
            await asyncio.sleep(0)
            given_up.cancel()
            [applied] = await asked
            assert applied.after is not None
            memory.applied_to(one, b"s0", applied.after)
            return applied.after, await store.stamp("u")
        finally:
            await store.close()

    after, stands = run_apart(ask())
    assert memory.known("u", after) is not None
    assert memory.known("u", stands) is None
