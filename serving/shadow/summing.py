"""What one worker's comparisons add up to, on its way to the tally of all workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import redis.asyncio

from features.errors import InputError
from serving.once import Batches, Command, Mark, add
from serving.store import Store
from serving.versions import SIDES

AT_ONCE = 1_000
"""Items that one command names."""


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
            InputError: it refuses some of it for good, which is lost.
        """
        while (batch := self._batches.next()) is not None:
            try:
                await self._store.asked(partial(self._add, self._version, *batch))
            except InputError:
                self._batches.done()
                raise
            self._batches.done()

    async def _add(self, version: str, sums: _Sums, mark: Mark, client: redis.asyncio.Redis) -> None:
        keys = self._store.keys
        additions: dict[str, list[Command]] = {
            keys.shadow_tally(version): [("HINCRBYFLOAT", name, number) for name, number in sums.numbers.items()]
        }
        for side, shown in sums.shown.items():
            ids = list(shown)
            parts: list[Command] = [("PFADD", *ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE)]
            additions[keys.shadow_items(version, side)] = parts
        await add(client, keys=keys, mark=mark, additions=additions)
