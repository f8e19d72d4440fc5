"""The service's eye on it: whether Redis remembers users and counts, and what came back where it had forgotten.

The near-line worker puts back (`serving/history/returner.py`) and has no metrics; a worker of the service knows a Redis
by the moment at which it was first met, so that it notices a loss also where nobody puts anything back.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import structlog

from recsys.run_folder import write_atomically
from serving.again import again
from serving.history.deletions import NOTED
from serving.history.mark import NOW
from serving.settings import Settings, masked
from serving.store import Store
from serving.telemetry import Telemetry

log = structlog.get_logger()

_LOOK = (
    NOW
    + """
redis.call('HSETNX', KEYS[1], 'met', string.format('%.0f', now_us))
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], ARGV[1], 1) end
return redis.call('HMGET', KEYS[1], ARGV[1], 'met', 'mark', 'told', 'without', 'events', 'arms')
"""
)


class HistoryWatch:
    """One worker's view.

    Args:
        store: Redis.
        settings: of the worker; in its state folder it keeps what it knew.
        telemetry: shows whether Redis remembers, and counts what came back.
    """

    def __init__(self, store: Store, settings: Settings, telemetry: Telemetry) -> None:
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._file = settings.home / "history.json"
        self._url = "" if settings.redis_url is None else masked(settings.redis_url.get_secret_value())
        self._met, noted = self._read()
        store.deletions.hear(noted)
        self._noted = noted == b"1"
        telemetry.history_in_step.set(1)

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set."""
        if self._store.configured:
            await again(closing, self._settings.poll_s, self.look)

    async def look(self) -> None:
        """Ask Redis since when it remembers, and tell what has become of what it had lost.

        Raises:
            StoreDownError: it is away.
        """
        key, deletions = self._store.keys.history, self._store.deletions
        asked = (1, key, NOTED, str(int(deletions.here)))
        noted, *found = await self._store.asked(lambda client: cast("Any", client.eval(_LOOK, *asked)))
        deletions.hear(noted)
        met, mark, told, without, *counts = ((one or b"").decode() for one in found)
        lost = self._met not in (None, met)
        events, arms = (int(one or 0) for one in counts)
        if lost and not deletions.noted:
            without = "RECSYS_ARCHIVE is not set"
        elif lost and not mark:  # nobody has put it back yet; whoever starts meanwhile is to find so, too
            self._telemetry.history_in_step.set(0)
            return
        elif lost and not counts[0]:
            without = "the archive is empty"
        self._telemetry.history_in_step.set(1)
        news = (lost or counts[0]) and not told
        if news and await self._store.asked(lambda client: cast("Any", client.hsetnx(key, "told", "1"))):
            self._tell(events, arms, without)
        if (self._met, self._noted) != (met, deletions.noted):
            self._met, self._noted = met, deletions.noted
            await asyncio.to_thread(self._write)

    def _tell(self, events: int, arms: int, without: str) -> None:
        self._telemetry.history_restored.labels("events").inc(events)
        self._telemetry.history_restored.labels("arms").inc(arms)
        if without:
            self._telemetry.history_lost.inc()
            log.error("redis has lost users' recent events, which are not put back", why=without, arms=arms)
        else:
            log.warning("redis had lost users' recent events and counters", events=events, arms=arms)

    def _read(self) -> tuple[str | None, bytes | None]:
        """Which Redis was known last: since when it remembers, and what it said of whether deletions are noted."""
        try:
            known = orjson.loads(self._file.read_bytes())
            if known["redis"] == self._url:
                return str(known["met"]), str(int(known.get("noted", 0))).encode()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None, None

    def _write(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, orjson.dumps({"redis": self._url, "met": self._met, "noted": self._noted}))
        except OSError as error:
            log.error("since when redis remembers cannot be kept in a file", path=str(self._file), error=str(error))
