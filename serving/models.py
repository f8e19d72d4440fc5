"""Models beside the current one, which arms of experiments answer from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

import structlog

from features.errors import InputError
from recsys.bundle import Bundle
from serving.live import RETRY_S, Catalog, Live
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()


class OtherModels:
    """Open bundles of other versions.

    Args:
        store: Redis, which knows where a version's bundle lies.
        telemetry: counts what does not open.
        opened: opens a version whose bundle was published from this place, as `serving.live.open_version`.
        prepare: called with each bundle in a thread, before anything is answered from it.
    """

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        opened: Callable[[str, str | None], Live],
        prepare: Callable[[Bundle], None],
    ) -> None:
        self._store = store
        self._opened = opened
        self._telemetry = telemetry
        self._prepare = prepare
        self._open: dict[str, Live] = {}
        self._elsewhere: list[Catalog] = []
        self._again_at: dict[str, float] = {}

    @property
    def bundles(self) -> list[Bundle]:
        """Those that are open, here or where they are watched."""
        elsewhere = [catalog.live for catalog in self._elsewhere]
        return [live.bundle for live in (*self._open.values(), *elsewhere) if live is not None]

    def watch(self, catalog: Catalog) -> None:
        """Take a bundle that is kept elsewhere for one that is open, so that rules are compiled for it."""
        self._elsewhere.append(catalog)

    def get(self, version: str) -> Live | None:
        """A version, None where it is not open."""
        return self._open.get(version)

    async def hold(self, versions: Collection[str]) -> None:
        """Have these versions open, and no others. One that does not open is counted, and tried again later."""
        self._open = {version: live for version, live in self._open.items() if version in versions}
        for version in versions:
            if version in self._open or time.monotonic() < self._again_at.get(version, 0.0):
                continue
            try:
                meta = await self._store.meta(version)
                live = await asyncio.to_thread(self._opened, version, meta.get("bundle"))
                await asyncio.to_thread(self._prepare, live.bundle)
            except StoreDownError:
                return
            except (InputError, OSError) as error:
                self._telemetry.policy_failures.inc()
                self._again_at[version] = time.monotonic() + RETRY_S
                log.error("the model of an arm does not open, its users get the current one", error=str(error))
                continue
            self._open[version] = live
            log.info("model of an arm open", version=version)
