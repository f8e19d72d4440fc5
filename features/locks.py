"""One process at a time in a folder that several may write to."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()


@contextmanager
def alone_in(folder: Path, *, doing: str) -> Iterator[None]:
    """Make the folder where it is missing, and keep other processes that ask for the same out of it.

    Waits for one that is there already, and says so in the log; a process that dies lets it go.

    Args:
        folder: what is to be held; the lock is its file `lock`.
        doing: what the other process does there, such as "encodes into the same cache".
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(f"waiting for another process that {doing}", folder=str(folder))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
