"""What keeps requests from waiting for a thread that opens a bundle beside them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.001
"""A thread that computes gives way to one that waits after so long; Python's own 5 ms would be paid at each turn of the
event loop."""


def give_way_soon() -> None:
    """Let threads of this process give way to one another sooner than by default."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))


@contextmanager
def no_long_collection() -> Iterator[None]:
    """Look for no garbage while a bundle opens, and take what is there afterwards for what stays.

    A bundle brings some hundred thousand containers, so many that Python would look through all it has (0.1 s at
    100,000 items, in which nothing is answered), and again at every later turn. A bundle that is left goes by its last
    reference, as nothing of it refers to itself.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect(1)
        gc.freeze()
        gc.enable()
