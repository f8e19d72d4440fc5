"""Deletions of users, noted in the archive: who asked to be forgotten does not come back from there.

A deletion is on disk before it is answered, so that no loss of Redis can undo it. Each worker writes a file of its own,
a line a deletion, and so needs no lock, on a network's disk either.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import orjson

from features.aside import sync
from features.errors import InputError

FOLDER = "forgotten"


class Forgotten:
    """Where one worker notes deletions.

    Args:
        archive: the folder that `recsys log collect` fills.

    Raises:
        InputError: it cannot be written to.
    """

    def __init__(self, archive: Path) -> None:
        self._folder = archive / FOLDER
        self._file = self._fresh()
        self._lock = threading.Lock()
        try:  # its being there says that deletions are noted
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"RECSYS_ARCHIVE: {archive} must be a folder to write to: {error.strerror}") from error

    def note(self, user_id: str, until_ms: int) -> None:
        """Note a deletion, on disk.

        Args:
            user_id: who is to be forgotten.
            until_ms: with all that was heard of them up to here, by Redis' clock.

        Raises:
            OSError: it cannot be written.
        """
        line = orjson.dumps([user_id, until_ms]) + b"\n"
        with self._lock:
            new = not self._file.exists()
            try:
                with self._file.open("ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:  # half a line may be there, which nothing may follow
                self._file = self._fresh()
                raise
            if new:
                sync(self._folder)

    def _fresh(self) -> Path:
        return self._folder / f"{secrets.token_hex(8)}.jsonl"


def are_noted(archive: Path) -> bool:
    """Whether somebody notes deletions here."""
    return (archive / FOLDER).is_dir()


def forgotten(archive: Path) -> dict[str, int] | None:
    """Who was forgotten, and until when, ms by Redis' clock; None where nobody notes deletions here.

    Raises:
        InputError: a note cannot be read.
    """
    if not are_noted(archive):
        return None
    found: dict[str, int] = {}
    for path in sorted((archive / FOLDER).glob("*.jsonl")):
        *lines, _ = path.read_bytes().split(b"\n")  # behind the last line's end is nothing, or what a crash cut off
        for place, line in enumerate(lines, 1):
            try:
                user_id, until_ms = orjson.loads(line)
                found[str(user_id)] = max(int(until_ms), found.get(str(user_id), 0))
            except (orjson.JSONDecodeError, TypeError, ValueError) as error:
                raise InputError(f"{path}:{place} must hold a user and a moment, it is {line[:80]!r}") from error
    return found
