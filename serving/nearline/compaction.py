"""Small parts of an archive put together into large ones while it is filled, a little at a time.

A stream leaves a part a second, so that after a day every reader would have 86,400 files to open. `FAN_IN` parts that
lie one behind the other become one, `FAN_IN` of these one in turn, and so on up to `FULL_ROWS`; a part of so many is
left alone, and what lies between two of them is put together. So a row is written again three times, rarely more,
however few come in a second, and some 150 parts of a stream are not full, at most. Rows stay as they are, in the order
of the stream; `serving/nearline/parts.py` says why nobody meets one twice or misses one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from features.errors import InputError
from features.locks import held
from serving.nearline.archive import fitted, sorted_rows
from serving.nearline.parts import LOCK, part_names, read_part, remove_replaced, remove_unfinished, span_of, write_part

log = structlog.get_logger()

FAN_IN = 64
"""Parts that are put together."""
FULL_ROWS = 100_000
"""A part with so many rows is left alone; one has less than twice as many, unless it was collected so."""
TURN_S = 0.25
"""After so long in one turn, no other parts are begun with."""
LOOK_S = 30.0
"""Between two looks at whether there are parts to put together."""
RETRY_S = 600.0
"""Before another look where it could not be done: as the disk is full or knows no locks, or a file is misnamed."""


class Small(NamedTuple):
    """A part that is not full."""

    name: str
    rows: int
    rounds: int


class Compactor:
    """One worker's part in it, for one stream; workers take turns by themselves.

    Args:
        folder: where the stream's parts lie.
        kind: "impressions" or "events".
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._alone: set[str] = set()
        self._walk: Iterator[None] | None = None
        self._look_at = 0.0

    def look(self) -> None:
        """Put some parts together, if there are any to be. Where that cannot be now, it is later."""
        if self._walk is None and time.monotonic() < self._look_at:
            return
        self._walk = self._walk or self._walked()
        try:
            done = self._turn(self._walk)
        except FileNotFoundError:  # another worker has put together what this one was about to
            done = True
        except (OSError, InputError, pa.ArrowException) as error:
            log.error("parts of the archive are not put together", folder=str(self._folder), error=str(error))
            self._walk, self._look_at = None, time.monotonic() + RETRY_S
            return
        if done:
            self._walk, self._look_at = None, time.monotonic() + LOOK_S

    def _turn(self, walk: Iterator[None]) -> bool:
        """Go on for a moment; whether there is no more to do now, or another process is at it."""
        until = time.monotonic() + TURN_S
        with held(self._folder / LOCK) as mine:
            if not mine:
                return True
            remove_replaced(self._folder)
            for _ in walk:
                if time.monotonic() >= until:
                    return False
        return True

    def _walked(self) -> Iterator[None]:
        """From the oldest part to the latest; what was put together may be so again, with what lies behind it."""
        remove_unfinished(self._folder)
        run: list[Small] = []
        for name in part_names(self._folder):
            yield
            part = self._small(name)
            if part is None:  # nothing comes behind these any more
                if len(run) > 1:
                    self._put_together(run)
                run = []
                continue
            run.append(part)
            while group := due(run):
                yield
                together = self._put_together(group)
                run = [] if together is None else [*run[: -len(group)], together]

    def _small(self, name: str) -> Small | None:
        """A part that may be put together with others; None where it stays alone."""
        if name in self._alone:
            return None
        _, _, rows, rounds = span_of(name)
        if rows is None:  # an older name, which does not say
            try:
                rows = pq.read_metadata(self._folder / name).num_rows
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException) as error:
                self._leave([name], error)
                return None
            if rows >= FULL_ROWS:
                self._alone.add(name)
        return Small(name, rows, rounds) if rows < FULL_ROWS else None

    def _put_together(self, group: Sequence[Small]) -> Small | None:
        tables, names = [], [part.name for part in group]
        for name in names:
            try:
                tables.append(read_part(self._folder / name))
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException) as error:
                self._leave([name], error)
                return None
        try:
            schema = pa.unify_schemas([one.schema for one in tables], promote_options="default")
            table, entries = sorted_rows(pa.concat_tables([fitted(one, schema) for one in tables]), self._kind)
        except (pa.ArrowException, KeyError, ValueError) as error:  # columns that do not go together, ids that are none
            self._leave(names, error)
            return None
        name = write_part(self._folder, table, str(entries[0]), str(entries[-1]), instead_of=names)
        log.info("parts put together", archive=self._folder.name, parts=len(names), rows=len(table))
        return self._small(name)

    def _leave(self, names: Sequence[str], error: Exception) -> None:
        log.error("parts of the archive stay as they are", folder=str(self._folder), parts=names, error=str(error))
        self._alone.update(names)


def due(run: list[Small]) -> list[Small]:
    """Of parts one behind the other, the last ones that are to be put together; none where it is not time yet."""
    for rounds in sorted({part.rounds for part in run}):
        n = next((n for n, part in enumerate(reversed(run)) if part.rounds > rounds), len(run))
        group = run[len(run) - n :]
        alike = sum(part.rounds == rounds for part in group)
        if n > 1 and (alike >= FAN_IN or sum(part.rows for part in group) >= FULL_ROWS):
            return group
    return []
