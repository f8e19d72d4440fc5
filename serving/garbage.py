"""When a worker looks through all it holds for garbage: while little is asked of it, as everything stands still then.

Garbage that only refers to itself is rare here (a connection that was closed, an error with its traceback), so there
is time. What is looked through is the whole process, so this belongs to the process, and not to the application of any
shop that it serves.
"""

from __future__ import annotations

import asyncio
import gc
import time

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.live import passed

log = structlog.get_logger()

LEAST_S, LATEST_S = 60.0, 3_600.0
"""Between two looks."""
QUIET = 0.1
"""The share of its time that a worker computes for while little is asked of it."""


def tidied(service: ASGIApp) -> ASGIApp:
    """A process' service, in whose event loop garbage is looked for from its start to its end.

    Garbage is given back in the thread that looks, so it must be that of the event loop whose garbage it is.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await service(scope, receive, send)
            return
        closing = asyncio.Event()
        looking = asyncio.create_task(look_for_garbage(closing))
        try:
            await service(scope, receive, send)
        finally:
            closing.set()
            await looking

    return serve


async def look_for_garbage(closing: asyncio.Event, *, every_s: float = 1.0) -> None:
    """Look at the first quiet moment after a minute, and after an hour at any, until `closing` is set."""
    looked_s, cpu_s, at_s = time.monotonic(), time.process_time(), time.monotonic()
    while not await passed(closing, every_s):
        cpu_before_s, before_s = cpu_s, at_s
        cpu_s, at_s = time.process_time(), time.monotonic()
        quiet = cpu_s - cpu_before_s < QUIET * (at_s - before_s)
        if at_s - looked_s > (LEAST_S if quiet else LATEST_S):
            found = gc.collect()
            looked_s = time.monotonic()
            log.debug("looked for garbage", seconds=round(looked_s - at_s, 3), found=found)
