"""Ctrl-C ends a run in one place: the process that was asked for it, not its helpers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def helpers_deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that this thread starts inside never hear of Ctrl-C, not even while they import, which takes seconds.

    A terminal interrupts all processes of a command; a helper would tell where it was, in a traceback of its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
