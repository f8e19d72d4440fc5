"""What a worker does beside requests again and again, for as long as it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from serving.live import passed
from serving.store import StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

PAUSE_S = 1.0
"""After a failure that nothing was done about."""


async def again(closing: asyncio.Event, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do something again and again until `closing` is set.

    Args:
        closing: ends it.
        every_s: seconds before each time.
        work: what to do; where it finds Redis away (`StoreDownError`), the next time has to do. Of any other failure
            it ends, to be told and begun anew by `lasting`.
    """
    while not await passed(closing, every_s):
        with suppress(StoreDownError):
            await work()


async def lasting(
    closing: asyncio.Event, job: Callable[[asyncio.Event], Awaitable[None]], telemetry: Telemetry
) -> None:
    """Do what ends by itself, once `closing` is set at the latest; should it fail, log and count it, and begin it anew.

    Jobs lie side by side in a task group, which ends all of them with one that fails: the worker would answer on, and
    never hear of events, items and versions again.
    """
    name = getattr(job, "__qualname__", repr(job))
    while True:
        try:
            await job(closing)
        except Exception:
            telemetry.background_failures.inc()
            log.exception("background work failed, and is begun anew", work=name)
        else:
            return
        if await passed(closing, PAUSE_S):
            return
