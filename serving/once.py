"""What a worker adds to Redis in batches, each of them once.

A call that was given up may have been carried out, or may still be: Redis also reads what came on a connection that is
closed by then. So a batch stays as it is and is sent again under its number until Redis has said that it is there; what
comes meanwhile is for the next one. Beside what is added to lies the number of a writer's last batch, and a batch is
added only where it has a higher one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.keys import Keys

REMEMBERED_S = 7 * 86_400
"""The number of a writer's last batch is known so long: longer than a Redis is out of reach that still has it."""
_ONCE = """
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
"""
ADD = (
    _ONCE
    + """
for i = 4, #ARGV, 2 do redis.call(ARGV[3], KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
)
"""Lua: adds numbers to the fields of a hash. `Mark.keys`; `Mark.args`, HINCRBY or HINCRBYFLOAT, fields and numbers."""
APPEND = (
    _ONCE
    + """
local i = 4
while ARGV[i] do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, i + 1, i + ARGV[i]))
  i = i + 1 + ARGV[i]
end
return 1
"""
)
"""Lua: appends entries to a stream. `Mark.keys`; `Mark.args`, how many it keeps, and of each entry how many texts its
fields and values are, and these."""
Batch = TypeVar("Batch")


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
        """The keys of a script: what is added to, and where the number of the writer's last batch lies."""
        return key, keys.added(key, self.writer)

    @property
    def args(self) -> tuple[int, int]:
        """What the arguments of a script begin with."""
        return self.number, REMEMBERED_S


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
