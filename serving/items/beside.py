"""A bundle beside the current one, for an arm of an experiment or a shadow, which hears of changed items likewise."""

from __future__ import annotations

import asyncio
from typing import Self

from serving.items.keeper import ItemKeeper
from serving.live import Live
from serving.telemetry import Telemetry


class Beside:
    """A catalog that follows what is said of items until it is closed; `open` makes one.

    Args:
        keeper: of the changed items, over the bundle.
    """

    def __init__(self, keeper: ItemKeeper) -> None:
        self.keeper = keeper
        self._ends = asyncio.Event()
        self._following = asyncio.create_task(keeper.run(self._ends))

    @classmethod
    async def open(cls, items: ItemKeeper, live: Live, telemetry: Telemetry) -> Self:
        """Lay everything that was said of items over a bundle, and follow what is said from now on.

        Args:
            items: the keeper over the current bundle, whose shelf this one reads, too.
            live: the bundle.
            telemetry: counts the changes.

        Raises:
            StoreDownError: Redis is away.
        """
        keeper = items.beside(telemetry)
        await keeper.move(live)
        await keeper.load()
        return cls(keeper)

    async def close(self) -> None:
        """Follow no longer."""
        self._ends.set()
        await self._following
