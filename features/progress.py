"""Progress on long work: a bar on a terminal; elsewhere, as in a log file, a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no terminal."""

log = structlog.get_logger()


class Bar(Protocol):
    """What a loop needs of a progress bar."""

    def advance(self, steps: float = 1) -> None:
        """Move on by so many steps."""

    def note(self, text: str) -> None:
        """Show a short remark behind the bar, such as the current loss."""


class _TerminalBar:
    def __init__(self, progress: Progress, description: str, total: float | None) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, note="")

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


class _Lines:
    def __init__(self, description: str, total: float | None) -> None:
        self._description, self._total = description, total
        self._done, self._note = 0.0, ""
        self._told = time.monotonic()

    def advance(self, steps: float = 1) -> None:
        self._done += steps
        if time.monotonic() - self._told >= LINE_EVERY_S:
            self._told = time.monotonic()
            of = {} if self._total is None else {"of": f"{self._total:g}"}
            remark = {"note": self._note} if self._note else {}
            log.info(self._description, done=f"{self._done:g}", **of, **remark)

    def note(self, text: str) -> None:
        self._note = text


@contextmanager
def bar(description: str, *, total: float | None) -> Iterator[Bar]:
    """A progress bar on standard error, or log lines where that is no terminal."""
    if not sys.stderr.isatty():
        yield _Lines(description, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _TerminalBar(progress, description, total)


def log_to_stderr() -> None:
    """Write log lines to standard error, as every command and every process that one starts does."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def track(items: Iterable[T], description: str, *, total: float | None = None) -> Iterator[T]:
    """Iterate with a progress bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total=total) as progress:
        for item in items:
            yield item
            progress.advance()
