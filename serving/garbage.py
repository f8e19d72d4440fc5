"""When a worker looks through all it holds for garbage: while little is asked of it, as everything stands still then.

Garbage that only refers to itself is rare here (a connection that was closed, an error with its traceback), so there
is time.
"""

from __future__ import annotations

import asyncio
import gc
import time

import structlog

from serving.live import passed
from serving.steady import NEVER

log = structlog.get_logger()

LEAST_S, LATEST_S = 60.0, 3_600.0
"""Between two looks."""
QUIET = 0.1
"""The share of its time that a worker computes for while little is asked of it."""


async def look_for_garbage(closing: asyncio.Event, *, every_s: float = 1.0) -> None:
    """Look at the first quiet moment after a minute, and after an hour at any, until `closing` is set.

    Where Python itself goes through everything now and then, as it does but in a worker's own process, there is nothing
    to do; nor may garbage of other event loops of the process be given back in this one's thread.
    """
    if gc.get_threshold()[2] < NEVER:
        return
    looked_s, cpu_s, at_s = time.monotonic(), time.process_time(), time.monotonic()
    while not await passed(closing, every_s):
        cpu_before_s, before_s = cpu_s, at_s
        cpu_s, at_s = time.process_time(), time.monotonic()
        quiet = cpu_s - cpu_before_s < QUIET * (at_s - before_s)
        if at_s - looked_s > (LEAST_S if quiet else LATEST_S):
            found = gc.collect()
            looked_s = time.monotonic()
            log.debug("looked for garbage", seconds=round(looked_s - at_s, 3), found=found)
