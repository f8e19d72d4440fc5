"""What each arm of an experiment showed, and what came of it; kept in Redis, summed over all workers.

A click or a purchase counts for the arm its user is in now, wherever on the site the answer was that it names (a
purchase need name none): the arms of an experiment are compared by all that their users do. The impression log joins
answer and event one by one, for a finer look.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import redis.asyncio

from features.errors import InputError
from serving.live import passed
from serving.nearline.attribution import FIELDS as ATTRIBUTED
from serving.once import Batches, Mark, add
from serving.store import Store, StoreDownError

FIELDS = ("answers", "slots", "short", "fallbacks", "clicks", "purchases")
"""Answers given; items in them; answers with fewer items than were asked for; answers given without Redis; clicks on
what was shown; purchases."""
Arm = tuple[str, str]


class Counters:
    """Held counts and their writer.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[Arm, Counter[str]] = {}
        self._batches = Batches(self._take)

    def add(self, arms: Mapping[str, str], **counts: int) -> None:
        """Count for each arm of a request, by names of `FIELDS`."""
        if self._store.configured:
            for arm in arms.items():
                self._held.setdefault(arm, Counter()).update(counts)

    def __len__(self) -> int:
        return len(self._held)

    def _take(self) -> dict[Arm, Counter[str]] | None:
        held, self._held = self._held, {}
        return held or None

    async def write(self) -> None:
        """Add everything held to what Redis has; what fails stays held.

        Raises:
            InputError: Redis refuses for good what was counted for an arm, which is lost.
        """
        while self._store.up and (batch := self._batches.next()) is not None:
            try:
                await self._store.asked(partial(self._add, *batch))
            except StoreDownError:
                return
            except InputError:
                self._batches.done()
                raise
            self._batches.done()

    async def _add(self, held: Mapping[Arm, Mapping[str, int]], mark: Mark, client: redis.asyncio.Redis) -> None:
        keys = self._store.keys
        additions = {
            keys.counters(*arm): [("HINCRBY", name, n) for name, n in counts.items() if n]
            for arm, counts in held.items()
        }
        await add(client, keys=keys, mark=mark, additions=additions)

    async def run(self, closing: asyncio.Event, every_s: float = 0.5) -> None:
        """Write again and again until `closing` is set."""
        while not await passed(closing, every_s):
            await self.write()

    async def read(self, arms: list[Arm]) -> dict[Arm, dict[str, int]]:
        """What was counted for these arms, by all workers.

        Raises:
            StoreDownError: Redis is away.
        """
        keys = self._store.keys
        return await self._read({arm: keys.counters(*arm) for arm in arms}, FIELDS)

    async def attributed(self, arms: list[Arm]) -> dict[Arm, dict[str, int]]:
        """What the near-line worker attributed to these arms (`serving/nearline/attribution.py`).

        Raises:
            StoreDownError: Redis is away.
        """
        keys = self._store.keys
        return await self._read({arm: keys.attributed(*arm) for arm in arms}, ATTRIBUTED)

    async def _read(self, names: Mapping[Arm, str], fields: Sequence[str]) -> dict[Arm, dict[str, int]]:
        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for name in names.values():
                pipeline.hgetall(name)
            return await pipeline.execute()

        found = await self._store.asked(ask) if names else []
        return {
            arm: {name: int(cast("dict[bytes, bytes]", counted).get(name.encode(), 0)) for name in fields}
            for arm, counted in zip(names, found, strict=True)
        }
