"""Draws all pictures of a shop on every core, a chunk at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

import multiprocessing
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from features.interrupts import helpers_deaf_to_ctrl_c
from features.progress import bar
from features.synthetic.pictures import Look, draw

CHUNK = 50
"""Pictures a chunk; a finished chunk is not drawn again."""

ALONE = 100
"""Up to so many pictures are drawn without helpers, which take a moment to start."""

_EPOCH = (1980, 1, 1, 0, 0, 0)

Entry = tuple[str, Look]
"""A picture's name in the archive and what it shows."""


def draw_album(entries: list[Entry], archive: Path, *, chunks: Path) -> None:
    """Draw pictures into a zip archive without compression; the same entries give the same bytes.

    Args:
        entries: what to draw, in the archive's order.
        archive: the file to write.
        chunks: folder for finished chunks; those already there are kept, and the folder is emptied in the end.
    """
    chunks.mkdir(parents=True, exist_ok=True)
    tasks = [(chunks / f"{first:08d}.zip", entries[first : first + CHUNK]) for first in range(0, len(entries), CHUNK)]
    waiting = [(path, part) for path, part in tasks if not path.exists()]
    done = len(entries) - sum(len(part) for _, part in waiting)
    with bar("Drawing pictures", total=len(entries)) as progress:
        progress.advance(done)
        for n_drawn in _draw_all(waiting):
            progress.advance(n_drawn)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as merged:
        for path, _ in tasks:
            with zipfile.ZipFile(path) as drawn:
                for info in drawn.infolist():
                    merged.writestr(info, drawn.read(info))
    for path, _ in tasks:
        path.unlink()
    chunks.rmdir()


def _draw_all(waiting: list[tuple[Path, list[Entry]]]) -> Iterator[int]:
    """Draw chunks, and yield the number of pictures of each finished one."""
    n_workers = min(os.cpu_count() or 1, len(waiting))
    if n_workers < 2 or sum(len(part) for _, part in waiting) <= ALONE:
        yield from map(_draw_chunk, waiting)
        return
    # fresh processes: a fork would copy the locks of whatever threads run here
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=fresh) as pool:
        with helpers_deaf_to_ctrl_c():  # they finish their chunk, and nothing further is started
            drawn = pool.map(_draw_chunk, waiting)
        yield from drawn


def _draw_chunk(task: tuple[Path, list[Entry]]) -> int:
    """Draw one chunk into its own archive, which appears only once it is whole."""
    path, entries = task
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name, look in entries:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), draw(look))
    unfinished.replace(path)
    return len(entries)
