"""What one worker's comparisons add up to, on its way to the tally of all workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import redis.asyncio

from serving.once import ADD, Batches, Mark
from serving.store import Store
from serving.versions import SIDES


@dataclass(frozen=True)
class _Sums:
    """Sums by name, and the items shown by side."""

    numbers: Counter[str] = field(default_factory=Counter)
    shown: Mapping[str, set[str]] = field(default_factory=lambda: {side: set() for side in SIDES})


class Summing:
    """Held sums of a shadowed version and their writer.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.begin("")

    def begin(self, version: str) -> None:
        """Sum up anew, for another version; what was held is let go."""
        self._version, self._held = version, _Sums()
        self._batches = Batches(self._take)

    def add(self, numbers: Mapping[str, float]) -> None:
        """Add numbers by name (`serving/shadow/tally.py`)."""
        self._held.numbers.update(numbers)

    def show(self, side: str, items: Iterable[str]) -> None:
        """Note the items that a side showed."""
        self._held.shown[side].update(items)

    def _take(self) -> _Sums | None:
        held, self._held = self._held, _Sums()
        return held if held.numbers and self._version else None

    async def write(self) -> None:
        """Add what is held to the tally of all workers; what fails is added the next time.

        Raises:
            StoreDownError: Redis went away.
        """
        while (batch := self._batches.next()) is not None:
            await self._store.asked(partial(self._add, self._version, *batch))
            self._batches.done()

    async def _add(self, version: str, sums: _Sums, mark: Mark, client: redis.asyncio.Redis) -> None:
        keys = self._store.keys
        names = mark.keys(keys, keys.shadow_tally(version))
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.eval(ADD, len(names), *names, *mark.args, "HINCRBYFLOAT", *chain.from_iterable(sums.numbers.items()))
        for side, item_ids in sums.shown.items():
            if item_ids:  # twice is as once
                pipeline.pfadd(keys.shadow_items(version, side), *item_ids)
        await pipeline.execute()
