"""What a worker counts and logs is added to Redis once, also where a call was given up that Redis carries out later."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from features.errors import InputError
from serving.counters import Counters
from serving.impressions import ImpressionLog, Shown
from serving.keys import Keys
from serving.once import ADD, Batches, Mark
from serving.settings import Settings
from serving.shadow.summing import Summing
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry
from tests.serving.redis_server import RedisServer

ARMS = {"looks": "bold", "order": "fresh"}


@contextmanager
def paused(server: Any) -> Iterator[None]:
    """The server answers no write, and forgets those of who hangs up."""
    with server.client() as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            yield
        finally:
            client.execute_command("CLIENT", "UNPAUSE")


@asynccontextmanager
async def hurried(server: Any) -> AsyncIterator[Store]:
    """A store with little patience, and connections that are open."""
    store = Store(server.url, Settings(redis_timeout_s=0.3, breaker_failures=1), Telemetry())
    store.mark_up()
    try:
        yield store
    finally:
        await store.close()


async def three_batches(server: Any, standing_still: Any, add: Callable[[int], None], write: Any) -> None:
    """The second of three batches is given up; the third comes while it waits to be sent again."""
    add(1)
    await write()
    add(2)
    with standing_still(server):
        await write()
    add(3)


@pytest.mark.parametrize("standing_still", [RedisServer.standing_still, paused])
def test_counts_of_arms_are_added_once(mortal_redis: Any, standing_still: Any, run_apart: Any) -> None:
    async def story() -> dict[Any, dict[str, int]]:
        async with hurried(mortal_redis) as store:
            counters = Counters(store)
            add = lambda n: counters.add(ARMS, answers=1, slots=10**n)  # noqa: E731
            await three_batches(mortal_redis, standing_still, add, counters.write)
            assert not store.up
            store.mark_up()
            await counters.write()
            assert len(counters) == 0
            return await counters.read(list(ARMS.items()))

    found = run_apart(story())
    assert [(one["answers"], one["slots"]) for one in found.values()] == [(3, 1110), (3, 1110)]


@pytest.mark.parametrize("standing_still", [RedisServer.standing_still, paused])
def test_answers_are_logged_once_in_their_order(mortal_redis: Any, standing_still: Any, run_apart: Any) -> None:
    async def story() -> None:
        async with hurried(mortal_redis) as store:
            shown = ImpressionLog(store, Telemetry(), cap=100)
            slots = Shown(["i1", "i2"], ["popular", "popular"], [1.0, 1.0])

            def add(n: int) -> None:
                for part in "ab":
                    shown.add(slots, recommendation_id=f"{n}{part}", surface="feed", subject="u", model_version="v")

            await three_batches(mortal_redis, standing_still, add, shown.write)
            assert len(shown) == 4
            store.mark_up()
            await shown.write()
            assert len(shown) == 0

    run_apart(story())
    with mortal_redis.client() as client:
        entries = client.xrange(Keys().impressions)
        logged = [fields[b"recommendation_id"].decode() for _, fields in entries]
    assert logged == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert entries[0][1][b"slots"] == Shown(["i1", "i2"], ["popular", "popular"], [1.0, 1.0]).json


@pytest.mark.parametrize("standing_still", [RedisServer.standing_still, paused])
def test_comparisons_of_a_shadow_are_summed_up_once(mortal_redis: Any, standing_still: Any, run_apart: Any) -> None:
    async def story() -> None:
        async with hurried(mortal_redis) as store:
            summing = Summing(store)
            summing.begin("v2")

            def add(n: int) -> None:
                summing.add({"feed|compared": 1, "feed|overlap": 0.5})
                summing.show("live", [f"i{n}"])

            async def write() -> None:
                try:
                    await summing.write()
                except StoreDownError:
                    assert not store.up

            await three_batches(mortal_redis, standing_still, add, write)
            store.mark_up()
            await write()

    run_apart(story())
    with mortal_redis.client() as client:
        tally = {name: float(value) for name, value in client.hgetall(Keys().shadow_tally("v2")).items()}
        assert tally == {b"feed|compared": 3.0, b"feed|overlap": 1.5}
        assert client.pfcount(Keys().shadow_items("v2", "live")) == 3


def test_what_was_summed_up_of_one_shadow_is_not_added_to_that_of_another(mortal_redis: Any, run_apart: Any) -> None:
    async def story() -> None:
        async with hurried(mortal_redis) as store:
            summing = Summing(store)
            for version in ("v1", "v2"):
                summing.begin(version)
                summing.add({f"feed|{version}": 1})
                store.mark_down("away") if version == "v1" else store.mark_up()
                with suppress(StoreDownError):
                    await summing.write()

    run_apart(story())
    with mortal_redis.client() as client:
        assert client.hgetall(Keys().shadow_tally("v2")) == {b"feed|v2": b"1"}


def test_a_batch_that_arrives_behind_a_later_one_is_known_and_one_of_another_worker_is_not(redis_server: Any) -> None:
    with redis_server.client() as client:

        def added(writer: str, number: int) -> int:
            mark = Mark(writer, number)
            return int(client.eval(ADD, 2, *mark.keys(Keys(), "sum"), *mark.args([("HINCRBY", "n", 1)])))

        assert [added("a", 1), added("a", 1), added("a", 2), added("a", 1), added("b", 1)] == [1, 0, 1, 0, 1]
        assert client.hget("sum", "n") == b"3"
        assert 0 < client.ttl(Keys().added("sum", "a")) <= 7 * 86_400


def test_what_redis_refuses_for_good_is_told_and_holds_nothing_up(redis_server: Any, run_apart: Any) -> None:
    """As keys hold what is not the service's."""
    keys, telemetry = Keys(), Telemetry()
    slots = Shown(["i1"], ["popular"], [1.0])
    spoilt = (keys.counters("looks", "bold"), keys.impressions, keys.shadow_items("v2", "live"))

    async def story(client: Any) -> list[tuple[str, int]]:
        store = Store(redis_server.url, Settings(redis_timeout_s=5.0), telemetry)
        store.mark_up()
        counters, shown, summing = Counters(store), ImpressionLog(store, telemetry, cap=100), Summing(store)
        summing.begin("v2")
        for spoil in (True, False):
            for key in spoilt:
                client.set(key, "not ours") if spoil else client.delete(key)
            counters.add(ARMS, answers=1, slots=10)
            shown.add(slots, recommendation_id=f"{spoil}", surface="feed", subject="u", model_version="v")
            summing.add({"feed|compared": 1})
            summing.show("live", [f"i{n}" for n in range(3_000)])
            for write, key in zip((counters.write, shown.write, summing.write), spoilt, strict=True):
                if spoil:
                    with pytest.raises(InputError, match=f"^{key} in Redis must hold what .* WRONGTYPE"):
                        await write()
                else:
                    await write()
        found = await counters.read(list(ARMS.items()))
        await store.close()
        return [(arm, counts["answers"]) for (_, arm), counts in found.items()]

    with redis_server.client() as client:
        assert run_apart(story(client)) == [("bold", 1), ("fresh", 2)]
        assert [fields[b"recommendation_id"] for _, fields in client.xrange(keys.impressions)] == [b"False"]
        assert client.hgetall(keys.shadow_tally("v2")) == {b"feed|compared": b"2"}
        assert client.pfcount(spoilt[2]) == pytest.approx(3_000, rel=0.05)
    assert telemetry.registry.get_sample_value("recsys_impressions_dropped_total", {"tenant": ""}) == 1
    assert telemetry.registry.get_sample_value("recsys_redis_failures_total", {"tenant": ""}) == 0


def test_a_batch_stays_as_it_is_until_it_is_there() -> None:
    held = Counter[str](n=1)

    def take() -> dict[str, int] | None:
        taken = dict(held)
        held.clear()
        return taken or None

    batches = Batches(take)
    first = batches.next()
    assert first is not None
    assert first[0] == {"n": 1}
    held["n"] += 5
    assert batches.next() == first
    batches.done()
    second = batches.next()
    assert second is not None
    assert (second[0], second[1].number) == ({"n": 5}, first[1].number + 1)
    batches.done()
    assert batches.next() is None
