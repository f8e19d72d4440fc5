"""Stops experiments that do harm: their guard-rails are held against the counters of all workers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import orjson
import structlog

from recsys.bundle import Bundle
from recsys.experiments import Experiment
from recsys.guard_rails import Finding, look
from recsys.rules.facts import let_go
from serving.again import again
from serving.counters import Arm, Counters
from serving.models import OtherModels
from serving.policy_keeper import PolicyKeeper
from serving.settings import Settings
from serving.steady import apart
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry
from serving.watcher import Watcher

log = structlog.get_logger()


class Guard:
    """A worker's loop over rules, models of arms, and guard-rails.

    Args:
        keeper: the rules and experiments.
        watcher: the current model.
        others: the models that arms name.
        counters: what was counted.
        store: Redis.
        settings: how often to look.
        telemetry: counts what is stopped.
    """

    def __init__(
        self,
        *,
        keeper: PolicyKeeper,
        watcher: Watcher,
        others: OtherModels,
        counters: Counters,
        store: Store,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._keeper = keeper
        self._watcher, self._others = watcher, others
        self._counters = counters
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._next_guard = 0.0

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set."""
        await again(closing, self._settings.poll_s, self.look)

    async def look(self, *, probing: bool = False) -> None:
        """Take over new rules and experiments, open the models that arms name, and now and then stop what does harm.

        Args:
            probing: look even while Redis is down, as after a change that it took.
        """
        if await self._keeper.look(self._bundles(), probing=probing):
            await self._others.hold(self._keeper.policies.models)
        left = self._keeper.books.forget(self._bundles())
        if left:
            await apart(let_go, left)
        now = time.monotonic()
        if self._store.up and now >= self._next_guard:
            self._next_guard = now + self._settings.guard_every_s
            await self.guard()

    async def guard(self) -> None:
        """Stop every experiment with a broken guard-rail."""
        policies, now_s = self._keeper.policies, time.time()
        self._telemetry.experiments_stopped.from_0(*(one.name for one in policies.experiments.experiments))
        await self._tell([(one.name, arm.name) for one in policies.experiments.experiments for arm in one.arms])
        for experiment in policies.experiments.experiments:
            if experiment.name in policies.stopped or not experiment.guard_rails or not experiment.holds_at(now_s):
                continue
            try:
                broken = [one for one in await self.findings(experiment) if one.broken]
                if broken and await self._stop(experiment.name, broken[0], now_s):
                    self._telemetry.experiments_stopped.labels(experiment.name).inc()
                    log.error(
                        "an experiment is stopped by its guard-rail", experiment=experiment.name, **vars(broken[0])
                    )
            except StoreDownError:
                return

    async def findings(self, experiment: Experiment) -> list[Finding]:
        """What the guard-rails of an experiment say of every arm but the first.

        Raises:
            StoreDownError: Redis is away.
        """
        counted = await self._counters.read([(experiment.name, arm.name) for arm in experiment.arms])
        first, *others = [(arm.name, counted[experiment.name, arm.name]) for arm in experiment.arms]
        return [look(rail, arm, counts, first[1]) for rail in experiment.guard_rails for arm, counts in others]

    async def _tell(self, arms: list[Arm]) -> None:
        """Show what was attributed to each arm."""
        try:
            found = await self._counters.attributed(arms)
        except StoreDownError:
            return
        for (experiment, arm), counted in found.items():
            for name, n in counted.items():
                self._telemetry.attributed.labels(experiment, arm, name).set(n)

    def _bundles(self) -> list[Bundle]:
        current = self._watcher.live
        return [*([] if current is None else [current.bundle]), *self._others.bundles]

    async def _stop(self, experiment: str, finding: Finding, now_s: float) -> bool:
        said = orjson.dumps({**vars(finding), "stopped_s": now_s})
        done = await self._store.asked(
            lambda client: cast("Any", client.hsetnx(self._store.keys.stopped, experiment, said))
        )
        return bool(done)
