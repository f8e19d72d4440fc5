"""Whatever a call to Redis fails with because of Redis, its callers hear that it is down."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from serving.settings import Settings
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry


def asked(run_apart: Any, url: str, ask: Any) -> None:
    async def story() -> None:
        store = Store(url, Settings(), Telemetry())
        try:
            await store.asked(ask, probing=True)  # it has not been asked before
        finally:
            await store.close()

    run_apart(story())


def test_a_connection_that_is_closed_while_it_is_written_to_is_redis_away(run_apart: Any, redis_server: Any) -> None:
    async def write_to_closed(_: redis.asyncio.Redis) -> None:
        """As the client does where the server hangs up between two of its steps."""
        _, writer = await asyncio.open_unix_connection(urlsplit(redis_server.url).path)
        writer.transport.abort()
        await asyncio.sleep(0)
        writer.write(b"PING\r\n")

    with pytest.raises(StoreDownError, match="handler is closed"):
        asked(run_apart, redis_server.url, write_to_closed)


def test_a_fault_of_the_service_is_not_put_down_to_redis(run_apart: Any, redis_server: Any) -> None:
    async def faulty(_: redis.asyncio.Redis) -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        asked(run_apart, redis_server.url, faulty)
