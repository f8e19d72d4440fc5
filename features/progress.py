"""Progress on long work: one bar on the terminal, silence where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


class Bar(Protocol):
    """What a loop needs of a progress bar."""

    def advance(self, steps: float = 1) -> None:
        """Move on by so many steps."""

    def note(self, text: str) -> None:
        """Show a short remark behind the bar, such as the current loss."""


class _RichBar:
    def __init__(self, progress: Progress, description: str, total: float | None) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, note="")

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


@contextmanager
def bar(description: str, *, total: float | None) -> Iterator[Bar]:
    """A progress bar on standard error; nothing is drawn where that is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=False, disable=not sys.stderr.isatty()) as progress:
        yield _RichBar(progress, description, total)


def track(items: Iterable[T], description: str, *, total: float | None = None) -> Iterator[T]:
    """Iterate with a progress bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total=total) as progress:
        for item in items:
            yield item
            progress.advance()
