"""Files and folders that appear at once: written under a name of their own beside their place, then moved there.

The name is drawn: threads of one process, and containers that share a volume and number their processes alike, never
write to one another's.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def aside(path: Path) -> Path:
    """A hidden name beside a path that nobody else has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that a reader meets the old content or the new, never half of it.

    Args:
        path: the file, there or not; its folder is there.

    Yields:
        Where to write. It takes the file's place at the end; after an error it is removed, and the file is as it was.
    """
    unfinished = aside(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, whole or not at all."""
    with replacing(path) as unfinished:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def sync(path: Path) -> None:
    """Have the disk keep what a file holds, or which names a folder has, whatever becomes of the machine.

    Raises:
        OSError: it does not.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise  # some disks of a network know no such thing of folders, whose names they keep at once
    finally:
        os.close(descriptor)
