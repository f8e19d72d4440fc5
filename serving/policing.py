"""Everything of a worker that has to do with rules and experiments, put together."""

from __future__ import annotations

import asyncio
from functools import partial

from serving.again import lasting
from serving.counters import Counters
from serving.guard import Guard
from serving.items.keeper import ItemKeeper
from serving.live import open_version
from serving.models import OtherModels
from serving.policy_keeper import PolicyKeeper
from serving.settings import Settings
from serving.steering import Steerer
from serving.store import Store
from serving.telemetry import Telemetry
from serving.watcher import Watcher


class Policing:
    """The parts, by name, and their work in the background.

    Args:
        keeper: the rules and experiments.
        watcher: the current model.
        items: the changed items, over the current model.
        store: Redis.
        settings: of the worker.
        telemetry: of the worker.
    """

    def __init__(
        self,
        keeper: PolicyKeeper,
        *,
        watcher: Watcher,
        items: ItemKeeper,
        store: Store,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self.keeper = keeper
        self._telemetry = telemetry
        opened = partial(open_version, settings=settings, recommender=watcher.recommender)
        self.others = OtherModels(store, telemetry, opened=opened, items=items)
        self.counters = Counters(store)
        self.guard = Guard(
            keeper=keeper,
            watcher=watcher,
            others=self.others,
            counters=self.counters,
            store=store,
            settings=settings,
            telemetry=telemetry,
        )
        self.steerer = Steerer(
            keeper=keeper,
            others=self.others,
            counters=self.counters,
            telemetry=telemetry,
            purchases=settings.purchase_types,
        )

    async def run(self, closing: asyncio.Event) -> None:
        """Follow rules and experiments and write what is counted, until `closing` is set."""
        async with asyncio.TaskGroup() as background:
            for one in (self.counters, self.guard):  # neither is torn by what befalls the other
                background.create_task(lasting(closing, one.run, self._telemetry))
        await self.others.hold(())
        await self.counters.write()
