"""Reads over connections of their own, of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from serving.connection import close, connect_async
from serving.reads import Reads


@pytest.fixture
def reading(redis_server: Any, run_apart: Any) -> Callable[..., Any]:
    """Runs a story with reads of the server, and a client of the same server that disturbs them."""
    with redis_server.client() as writing:
        writing.mset({"a": b"1", "b": b"2"})

    def run(story: Callable[[Reads, redis.Redis], Awaitable[Any]], *, timeout_s: float = 5.0) -> Any:
        async def told() -> Any:
            client = connect_async(redis_server.url, timeout_s=timeout_s, pool_size=4)
            reads = Reads(client, timeout_s=timeout_s)
            try:
                with redis_server.client() as other:
                    return await story(reads, other)
            finally:
                await reads.close()
                await close(client)

        return run_apart(told())

    return run


def n_connections(other: redis.Redis) -> int:
    return len(other.client_list(_type="normal"))


def test_values_come_in_their_order_over_one_connection_while_one_read_is_under_way(reading: Any) -> None:
    async def story(reads: Reads, other: redis.Redis) -> tuple[Any, ...]:
        found = [await reads.get(["b", "absent", "a"]) for _ in range(3)]
        alone = n_connections(other)
        await asyncio.gather(*(reads.get(["a"]) for _ in range(3)))
        return found, alone, n_connections(other) - alone

    found, alone, more = reading(story)
    assert found == [[b"2", None, b"1"]] * 3
    assert (alone, more) == (2, 2)  # the other client's, and the reads'


def test_a_connection_that_the_server_has_closed_costs_no_read(reading: Any) -> None:
    async def story(reads: Reads, other: redis.Redis) -> tuple[Any, ...]:
        await asyncio.gather(*(reads.get(["a"]) for _ in range(3)))
        other.client_kill_filter(_type="normal", skipme=True)
        return await reads.get(["b"]), n_connections(other)

    assert reading(story) == ([b"2"], 2)


def test_a_connection_that_this_side_has_just_found_closed_costs_no_read_either(reading: Any) -> None:
    async def story(reads: Reads, other: redis.Redis) -> list[bytes | None]:
        await reads.get(["a"])
        (connection,) = reads._idle
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        return await reads.get(["b"])

    assert reading(story) == [b"2"]


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(reading: Any) -> None:
    async def story(reads: Reads, other: redis.Redis) -> list[bytes | None]:
        await reads.get(["a"])
        other.client_pause(300)
        with pytest.raises(TimeoutError):
            await reads.get(["a"])
        await asyncio.sleep(0.4)
        return await reads.get(["b"])

    assert reading(story, timeout_s=0.1) == [b"2"]


def test_a_server_that_is_not_there_is_said_so(run_apart: Any) -> None:
    async def story() -> None:
        client = connect_async("redis://127.0.0.1:1", timeout_s=1.0, pool_size=4)
        await Reads(client, timeout_s=1.0).get(["a"])

    with pytest.raises(redis.ConnectionError):
        run_apart(story())
