"""Answers of Redis over connections of their own, which are not given back to the pool after each read.

What a kept answer waits for is one read. The pool's care (is there one free, does it still live, a timer for each step)
costs 60 of the 100 us that a read takes a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import redis.asyncio
from redis.asyncio.connection import AbstractConnection

from serving.connection import hanging_up


class Reads:
    """Reads from one server, or from the primary that Sentinels name.

    Args:
        client: of whose server; its pool's settings hold here, too.
        timeout_s: longest wait for a connection and its answer, together.
    """

    def __init__(self, client: redis.asyncio.Redis, *, timeout_s: float) -> None:
        self._pool = client.connection_pool
        self._timeout_s = timeout_s
        self._idle: list[AbstractConnection] = []

    async def get(self, names: list[str]) -> list[bytes | None]:
        """The values of some keys, None where absent; as many connections are kept as there were reads at once.

        Raises:
            redis.RedisError: the server cannot be reached, or refuses.
            TimeoutError: it does not answer in time.
        """
        return cast("list[bytes | None]", (await self.ask([("MGET", *names)]))[0])

    async def ask(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """The answers to some commands that change nothing, sent together, as the server gives them.

        Raises:
            redis.RedisError, TimeoutError: as `get`.
        """
        if self._idle:
            with suppress(redis.ConnectionError), hanging_up():
                return await self._over(self._idle.pop(), commands)
            await self.close()  # the server has hung up meanwhile, on the others, too
        return await self._over(self._pool.make_connection(), commands)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Hang up."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def _over(self, connection: AbstractConnection, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        connection.socket_timeout = None  # there is one time limit around all steps
        try:
            async with asyncio.timeout(self._timeout_s):
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(connection.pack_commands(commands))
                found = [await connection.read_response() for _ in commands]
        except BaseException:  # with an answer on its way that nobody waits for
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return found
