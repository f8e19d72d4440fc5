"""One process at a time in a folder that several may write to."""

from __future__ import annotations

import fcntl
import os
import time
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


@contextmanager
def held(file: Path, *, shared: bool = False, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold a lock while it is to be had; a process that dies lets it go.

    Args:
        file: the lock; made where it is missing.
        shared: hold it together with others that share it, rather than alone.
        wait_s: how long to wait for others.

    Yields:
        Whether it is held.

    Raises:
        OSError: the file cannot be opened, or the disk knows no locks.
    """
    descriptor = os.open(file, os.O_CREAT | (os.O_RDONLY if shared else os.O_RDWR), 0o666)
    try:
        yield _had(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + wait_s)
    finally:
        os.close(descriptor)


def _had(descriptor: int, kind: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        else:
            return True
