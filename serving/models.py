"""Models beside the current one, which arms of experiments answer from."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import structlog

from features.errors import InputError
from recsys.bundle import Bundle
from serving.items.beside import Beside
from serving.items.keeper import ItemKeeper
from serving.live import RETRY_S, Catalog, Live
from serving.steady import apart
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

ASIDE = "~aside"
"""A label that nobody's metrics show: a changed item counts once, not once more for every model it is kept beside."""


class OtherModels:
    """Open bundles of other versions, each with what was said of items since it was made.

    Args:
        store: Redis, which knows where a version's bundle lies.
        telemetry: counts what does not open.
        opened: opens a version whose bundle was published from this place, as `serving.live.open_version`.
        items: the changed items of the current version; those of the others are read from the same shelf.
    """

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        opened: Callable[[str, str | None], Live],
        items: ItemKeeper,
    ) -> None:
        self._store = store
        self._opened = opened
        self._telemetry = telemetry
        self._items = items
        self._open: dict[str, Beside] = {}
        self._elsewhere: list[Catalog] = []
        self._again_at: dict[str, float] = {}

    @property
    def bundles(self) -> list[Bundle]:
        """Those that are open, here or where they are watched."""
        catalogs = (*(kept.keeper for kept in self._open.values()), *self._elsewhere)
        return [catalog.live.bundle for catalog in catalogs if catalog.live is not None]

    @property
    def open(self) -> list[Live]:
        """What arms are answered from, and what the next amended ones are made of."""
        return [live for kept in self._open.values() for live in kept.keeper.open]

    def watch(self, catalog: Catalog) -> None:
        """Take a bundle that is kept elsewhere for one that is open, so that rules are compiled for it."""
        self._elsewhere.append(catalog)

    def get(self, version: str) -> Live | None:
        """A version, None where it is not open."""
        kept = self._open.get(version)
        return None if kept is None else kept.keeper.live

    async def hold(self, versions: Collection[str]) -> None:
        """Have these versions open, and no others. One that does not open is counted, and tried again later."""
        for gone in self._open.keys() - set(versions):
            await self._open.pop(gone).close()
        for version in versions:
            if version in self._open or time.monotonic() < self._again_at.get(version, 0.0):
                continue
            try:
                meta = await self._store.meta(version)
                live = await apart(self._opened, version, meta.get("bundle"))
                beside = await Beside.open(self._items, live, Telemetry(ASIDE))
            except StoreDownError:
                return
            except (InputError, OSError) as error:
                self._telemetry.policy_failures.inc()
                self._again_at[version] = time.monotonic() + RETRY_S
                log.error("the model of an arm does not open, its users get the current one", error=str(error))
                continue
            self._open[version] = beside
            log.info("model of an arm open", version=version)
