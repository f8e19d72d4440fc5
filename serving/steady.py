"""What keeps requests from waiting for what their worker does beside them: computing, and looking for garbage."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

from features.pace import unhurried

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_S = 0.0001
"""A thread that computes gives way to one that waits after so long. The event loop asks for its turn once or more a
request; Python's own 5 ms, each time, would let a worker answer a few hundred requests a second while it opens a bundle
in a thread."""
MIDDLE, NEVER = 3, 1_000_000
"""Times that Python looks through what was made lately before it looks through what has outlived that once, and through
that before it looks through all there is: the first takes a millisecond so; the second takes 0.1 s in a worker that
remembers a thousand users, and waits for a quiet moment (see `serving/garbage.py`)."""


def be_steady() -> None:
    """Prefer short pauses to few; called by a worker's process when it has put its application together.

    What is there by then is there to stay, and is not looked through again. What goes out of use goes by its last
    reference; only what refers to itself (a connection that was closed) waits longer for its memory to be given back.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
    gc.freeze()
    gc.set_threshold(gc.get_threshold()[0], MIDDLE, NEVER)


async def one_thread() -> None:
    """Let BLAS and faiss compute in the thread that asks: what a request needs is too little for several to share.

    Called whenever another bundle is answered from, as faiss and its threads come with the first one that is large.
    """
    libraries = await asyncio.to_thread(ThreadpoolController)  # looks through all that is loaded, for 10 ms
    libraries.limit(limits=1)  # here, as OpenMP keeps a limit for each thread that asks


def until_s(began_s: float, most_s: float) -> float:
    """When what began then ends: after `most_s` at most and half of it at least, in the seconds of the same clock.

    What began in one burst, as when a worker starts, would end in one burst, and be made anew in one, again and again.
    So each lasts as long as the digits past the millisecond say, which are as good as drawn.
    """
    return began_s + most_s * (1 - began_s * 1e3 % 1 / 2)


async def apart(ask: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Do something long in a thread that leaves most of the time to requests (see `features/pace.py`)."""
    with unhurried():
        return await asyncio.to_thread(ask, *args, **named)
