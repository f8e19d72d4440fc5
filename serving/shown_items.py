"""Items as answers show them, as JSON bytes; those that are asked for often are kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from recsys.kept import Kept
from serving.display import item_json
from serving.live import Live
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry


class ShownItems:
    """One worker's items.

    Args:
        store: Redis.
        telemetry: counts which were kept. An item that was changed since its bundle was made is made each time, and is
            neither a hit nor a miss.
        cap: bytes that are kept.
    """

    def __init__(self, store: Store, telemetry: Telemetry, *, cap: int) -> None:
        self._store = store
        self._kept: Kept[tuple[str, int], bytes] = Kept(cap)
        self._misses, self._hits = (telemetry.cache.labels("items", outcome) for outcome in ("miss", "hit"))

    async def published(self, live: Live, rows: Sequence[int]) -> tuple[list[bytes], bool]:
        """Items as Redis has them, or as their bundle says; and whether Redis had them all."""
        items, missing = self._at_hand(live, rows)
        if missing and self._store.up:
            with suppress(StoreDownError):
                fresh = await self._store.items(live.version, [live.bundle.items[rows[place]] for place in missing])
                for place, item in zip(missing, fresh, strict=True):
                    if item is not None:
                        items[place] = self._keep(live, rows[place], item)
        whole = all(items[place] is not None for place in missing)
        return [
            item_json(live.bundle, row) if item is None else item for row, item in zip(rows, items, strict=True)
        ], whole

    def own(self, live: Live, rows: Sequence[int]) -> list[bytes]:
        """Items as their bundle says, without the trip to Redis that fetching them would take."""
        items, missing = self._at_hand(live, rows)
        for place in missing:
            items[place] = self._keep(live, rows[place], item_json(live.bundle, rows[place]))
        return cast("list[bytes]", items)

    def _at_hand(self, live: Live, rows: Sequence[int]) -> tuple[list[bytes | None], list[int]]:
        """Changed and kept items, None for each other one, and the places of these."""
        bundle, version = live.bundle, live.version
        changed = {} if live.changes is None else live.changes.shown
        items = self._kept.get_all([(version, row) for row in rows])
        changed_places = [place for place, row in enumerate(rows) if row in changed] if changed else []
        for place in changed_places:
            items[place] = item_json(bundle, rows[place])
        missing = [place for place, item in enumerate(items) if item is None] if None in items else []
        n_changed = len(changed_places)
        self._hits.inc(len(rows) - len(missing) - n_changed)
        self._misses.inc(len(missing))
        return items, missing

    def _keep(self, live: Live, row: int, item: bytes) -> bytes:
        self._kept.keep((live.version, row), item, len(item))
        return item
