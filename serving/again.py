"""What a worker does beside requests again and again, for as long as it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from serving.live import passed
from serving.store import StoreDownError

log = structlog.get_logger()


async def again(closing: asyncio.Event, every_s: float, work: Callable[[], Awaitable[object]], *, failed: str) -> None:
    """Do something again and again until `closing` is set.

    Args:
        closing: ends it.
        every_s: seconds before each time.
        work: what to do; where it finds Redis away (`StoreDownError`), the next time has to do.
        failed: what the log says of any other failure: nobody would notice work that has died of one.
    """
    while not await passed(closing, every_s):
        try:
            await work()
        except StoreDownError:
            continue
        except Exception:
            log.exception(failed)
