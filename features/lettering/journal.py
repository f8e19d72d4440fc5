"""What was read in pictures, on disk: found by content, so that no picture is read twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import structlog

from features.lettering.reader import Line
from features.locks import alone_in

log = structlog.get_logger()


class LetteringJournal:
    """The lines read by one reader; open it with `with`, which keeps other processes out until it is left.

    A file of one line of JSON a picture: the SHA-256 of its content, and its lines. It
    is only appended to; a run that is killed leaves at most half a line, which is cut when it is opened again.

    Args:
        root: folder of all caches; created where absent.
        reader: the reader's fingerprint, which names the folder within.
    """

    def __init__(self, root: Path, reader: str) -> None:
        self.file = root / reader / "lettering.jsonl"
        self._held = ExitStack()
        self._lines: dict[bytes, tuple[Line, ...]] = {}

    def __enter__(self) -> LetteringJournal:
        self._held.enter_context(alone_in(self.file.parent, doing="reads lettering"))
        try:
            self._load()
            self._out = self._held.enter_context(self.file.open("ab"))
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self._lines

    def __getitem__(self, key: bytes) -> tuple[Line, ...]:
        return self._lines[key]

    def add(self, key: bytes, lines: Iterable[Line]) -> None:
        """Note the lines of a picture, given by the SHA-256 of its content."""
        kept = tuple(
            line._replace(confidence=round(line.confidence, 4), height=round(line.height, 4)) for line in lines
        )
        self._lines[key] = kept
        self._out.write(json.dumps([key.hex(), kept], ensure_ascii=False).encode() + b"\n")
        self._out.flush()

    def _load(self) -> None:
        if not self.file.is_file():
            return
        content = self.file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            log.info("cut what an interrupted run left", file=str(self.file), bytes=len(content) - whole)
            os.truncate(self.file, whole)
        for entry in content[:whole].split(b"\n")[:-1]:
            key, lines = json.loads(entry)
            self._lines[bytes.fromhex(key)] = tuple(
                Line(text, sure, height, tuple(doubts)) for text, sure, height, doubts in lines
            )
