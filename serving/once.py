"""What a worker adds to Redis in batches, each of them once.

A call that was given up may have been carried out, or may still be: Redis also reads what came on a connection that is
closed by then. So a batch stays as it is and is sent again under its number until Redis has said that it is there; what
comes meanwhile is for the next one. Beside what is added to lies the number of a writer's last batch, and a batch is
added only where it has a higher one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis.asyncio

from features.errors import InputError
from serving.keys import Keys

REMEMBERED_S = 7 * 86_400
"""The number of a writer's last batch is known so long: longer than a Redis is out of reach that still has it."""
ADD = """
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('SETEX', KEYS[2], ARGV[2], ARGV[1])
local i, said = 3, 1
while ARGV[i] do
  local done = redis.pcall(ARGV[i + 1], KEYS[1], unpack(ARGV, i + 2, i + ARGV[i]))
  if type(done) == 'table' and done.err then said = done.err end
  i = i + 1 + ARGV[i]
end
return said
"""
"""Lua: carries out commands on a key. `Mark.keys`; `Mark.args`. It says 0 of a batch that was there, 1 of one that is
now, and the error where a command was refused: behind the mark that is for good, as a Redis that is full, a replica, or
out of reach has refused the mark."""
Batch = TypeVar("Batch")
Command = Sequence[str | bytes | float]


@dataclass(frozen=True)
class Mark:
    """What tells a batch from every other.

    Args:
        writer: who sends it; nobody else sends any under this name.
        number: later ones have higher ones.
    """

    writer: str
    number: int

    def keys(self, keys: Keys, key: str) -> tuple[str, str]:
        """The keys of `ADD`: what is added to, and where the number of the writer's last batch lies."""
        return key, keys.added(key, self.writer)

    def args(self, commands: Iterable[Command]) -> list[str | bytes | float]:
        """The arguments of `ADD`.

        Args:
            commands: each without its key, which comes behind its name; of some thousand parts at most.
        """
        args: list[str | bytes | float] = [self.number, REMEMBERED_S]
        for command in commands:
            args.append(len(command))
            args += command
        return args


async def add(
    client: redis.asyncio.Redis, *, keys: Keys, mark: Mark, additions: Mapping[str, Iterable[Command]]
) -> None:
    """Add a batch where it was not added before.

    Args:
        client: of Redis.
        keys: of the tenant.
        mark: of the batch.
        additions: by key, the commands that add to it, as of `Mark.args`.

    Raises:
        InputError: Redis refused some of it for good; all else was added, and none of it is to be sent again.
    """
    pipeline: Any = client.pipeline(transaction=False)
    for key, commands in additions.items():
        names = mark.keys(keys, key)
        pipeline.eval(ADD, len(names), *names, *mark.args(commands))
    for key, said in zip(additions, await pipeline.execute(), strict=True):
        if isinstance(said, bytes):
            rule = f"{key} in Redis must hold what the service adds to, and refuses it"
            raise InputError(f"{rule}: {said.decode(errors='replace')}")


class Batches(Generic[Batch]):
    """One writer's batches, one at a time.

    Args:
        take: takes what there is to add as a batch; None where there is nothing.
    """

    def __init__(self, take: Callable[[], Batch | None]) -> None:
        self._take = take
        self._writer, self._number = secrets.token_hex(8), 0
        self.open: Batch | None = None

    def next(self) -> tuple[Batch, Mark] | None:
        """The batch to send: the one that was sent last, unless it is `done`; None where there is nothing to add."""
        if self.open is None:
            self.open = self._take()
            self._number += 1
        return None if self.open is None else (self.open, Mark(self._writer, self._number))

    def done(self) -> None:
        """The open batch is there, or is not to be sent again."""
        self.open = None
