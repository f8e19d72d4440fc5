"""The archive's events read backwards, the latest first, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from serving.events import Event
from serving.history.users import Archived
from serving.nearline.parts import moment_ms, part_names, span_of
from serving.nearline.rows import ENTRY

log = structlog.get_logger()

CHUNK_EVENTS, CHUNK_ROWS, CHUNK_PARTS = 20_000, 200_000, 200
"""Events that go out at once, and rows and parts that are read for them, roughly, at most: parts may be very small, or
large, and of many rows few be purchases."""
_COLUMNS = (ENTRY, "event_id", "user_id", "item_id", "event_type", "timestamp")


class Chunk(NamedTuple):
    """Some events of the archive.

    Args:
        users: the events of each user, the latest to arrive first.
        reached: name of the last part that has been read as a whole; "" for none.
    """

    users: list[list[Archived]]
    reached: str


def latest_ms(folder: Path) -> int:
    """When the latest entry arrived that a folder of parts has, ms by Redis' clock; 0 where it has none."""
    return max((moment_ms(span_of(name).last) for name in part_names(folder)), default=0)


def chunks(
    folder: Path, *, before: str = "", recent_from_ms: int, bought_from_ms: int, purchases: Collection[str]
) -> Iterator[Chunk]:
    """Read what may be given back.

    Where parts are replaced by larger ones meanwhile, some events may be read twice, and none is left out.

    Args:
        folder: parts of the events.
        before: go on where a chunk had `reached` this; "": begin.
        recent_from_ms: events are wanted that arrived since then, by Redis' clock.
        bought_from_ms: and purchases since then.
        purchases: types of events that mean buying.
    """
    reached, replaced = before, True
    while replaced:
        replaced = False
        held: list[pa.Table] = []
        n_rows = n_parts = 0
        for name in _before(folder, reached, min(recent_from_ms, bought_from_ms)):
            only = None if moment_ms(span_of(name).last) >= recent_from_ms else purchases
            try:
                for table in _read(folder / name):
                    n_events = sum(one.num_rows for one in held)
                    if n_events >= CHUNK_EVENTS or n_rows >= CHUNK_ROWS or n_parts >= CHUNK_PARTS:
                        yield Chunk(_by_user(held), reached)
                        held, n_rows, n_parts = [], 0, 0
                    n_rows += table.num_rows
                    held.append(table if only is None else _of_types(table, only))
            except FileNotFoundError:
                replaced = True
                break
            reached, n_parts = name, n_parts + 1
        if held or replaced:
            yield Chunk(_by_user(held), reached)


def _before(folder: Path, reached: str, from_ms: int) -> list[str]:
    """Parts that have something of since a moment, the latest first, and are still to be read after another.

    One that begins with it, or earlier, is: what was put together meanwhile may hold what was read and what was not.
    """
    names = part_names(folder)[::-1]
    if reached:
        first = span_of(reached).first
        names = [name for name in names if span_of(name).first <= first and name != reached]
    return [name for name in names if moment_ms(span_of(name).last) >= from_ms]


def _read(path: Path) -> Iterator[pa.Table]:
    """A part's events, the latest rows first, a bounded number at a time.

    Where it cannot be read, nothing more comes of it, which is told.

    Raises:
        FileNotFoundError: it has been replaced.
    """
    try:
        with pq.ParquetFile(path) as file:
            for group in reversed(range(file.num_row_groups)):
                yield file.read_row_group(group, columns=list(_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        if not path.exists():  # a disk of a network lets nobody read on in what another machine removes
            raise FileNotFoundError(f"{path} has been replaced") from error
        log.error("a part of the archive cannot be read", part=str(path), error=str(error))


def _of_types(table: pa.Table, types: Collection[str]) -> pa.Table:
    return table.filter(pc.is_in(table["event_type"], value_set=pa.array(sorted(types), pa.string())))


def _by_user(tables: Sequence[pa.Table]) -> list[list[Archived]]:
    found: list[Archived] = []
    for table in tables:
        columns = [reversed(table[name].to_pylist()) for name in _COLUMNS]
        for entry_id, event_id, user_id, item_id, event_type, timestamp in zip(*columns, strict=True):
            event = Event(event_id, user_id, item_id, event_type, timestamp, None)
            found.append(Archived(moment_ms(entry_id), event))
    found.sort(key=lambda one: one.arrived_ms, reverse=True)  # stable; parts of several workers overlap
    users: dict[str, list[Archived]] = {}
    for one in found:
        users.setdefault(one.event.user_id, []).append(one)
    return list(users.values())
