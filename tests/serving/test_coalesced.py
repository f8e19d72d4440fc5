"""Reads of one turn of the event loop go together, and each gets its own answer."""

from __future__ import annotations

import asyncio
from typing import Any

from serving import coalesced
from serving.coalesced import Coalesced


class Keys:
    """Knows some keys, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def fetch(self, keys: list[str]) -> list[bytes | None]:
        self.asked.append(keys)
        await asyncio.sleep(0.01)
        if "bad" in keys:
            raise ConnectionError("gone")
        return [None if key == "absent" else key.encode() for key in keys]


def test_what_is_asked_in_one_turn_is_one_round_trip_and_each_key_is_fetched_once(run_apart: Any) -> None:
    keys = Keys()

    async def ask() -> list[list[bytes | None]]:
        values = Coalesced(keys.fetch)
        return await asyncio.gather(values.get(["a", "b"]), values.get(["b", "absent", "b"]), values.get([]))

    assert run_apart(ask()) == [[b"a", b"b"], [b"b", None, b"b"], []]
    assert keys.asked == [["a", "b", "absent"]]


def test_a_later_turn_is_another_round_trip_and_does_not_wait_for_the_first(run_apart: Any) -> None:
    keys = Keys()

    async def ask() -> None:
        values = Coalesced(keys.fetch)
        first = asyncio.create_task(values.get(["a"]))
        await asyncio.sleep(0.001)
        assert await values.get(["a"]) == [b"a"]
        assert await first == [b"a"]

    run_apart(ask())
    assert keys.asked == [["a"], ["a"]]


def test_while_as_many_as_may_be_are_under_way_the_keys_of_later_turns_gather_for_one(run_apart: Any) -> None:
    asked: list[list[str]] = []
    each = [str(number) for number in range(coalesced.AT_ONCE + 3)]

    async def ask() -> list[list[bytes | None]]:
        answering = asyncio.Event()

        async def fetch(keys: list[str]) -> list[bytes | None]:
            asked.append(keys)
            await answering.wait()
            return [key.encode() for key in keys]

        values, waiting = Coalesced(fetch), []
        for key in each:
            waiting.append(asyncio.create_task(values.get([key])))
            for _ in range(5):  # turns of the event loop
                await asyncio.sleep(0)
        answering.set()
        return await asyncio.gather(*waiting)

    assert run_apart(ask()) == [[key.encode()] for key in each]
    assert asked == [*([key] for key in each[: coalesced.AT_ONCE]), each[coalesced.AT_ONCE :]]


def test_a_failure_is_everybodys_who_waits_for_it_and_nobody_elses(run_apart: Any) -> None:
    keys = Keys()

    async def ask() -> list[object]:
        values = Coalesced(keys.fetch)
        failed = asyncio.gather(values.get(["bad"]), values.get(["a"]), return_exceptions=True)
        await asyncio.sleep(0.001)
        return [*await failed, await values.get(["a"])]

    bad, beside, later = run_apart(ask())
    assert isinstance(bad, ConnectionError)
    assert isinstance(beside, ConnectionError)
    assert later == [b"a"]


def test_a_request_that_is_given_up_takes_nobody_with_it(run_apart: Any) -> None:
    keys = Keys()

    async def ask() -> list[bytes | None]:
        values = Coalesced(keys.fetch)
        given_up = asyncio.create_task(values.get(["a"]))
        kept = asyncio.create_task(values.get(["a", "b"]))
        await asyncio.sleep(0.001)
        given_up.cancel()
        return await kept

    assert run_apart(ask()) == [b"a", b"b"]


def test_a_round_trip_has_a_length(run_apart: Any) -> None:
    keys = Keys()

    async def ask() -> list[list[bytes | None]]:
        values = Coalesced(keys.fetch, most_keys=4)
        return await asyncio.gather(*(values.get([f"{one}{two}" for two in range(3)]) for one in "abc"))

    assert [len(one) for one in run_apart(ask())] == [3, 3, 3]
    assert [len(one) for one in keys.asked] == [3, 3, 3]
