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
from serving.nearline.archive import PARTS, moment_ms, span_of
from serving.nearline.rows import ENTRY

log = structlog.get_logger()

CHUNK_ROWS, CHUNK_PARTS = 20_000, 200
"""Events and parts that are read at once, roughly, at most: parts may be very small."""
_COLUMNS = (ENTRY, "event_id", "user_id", "item_id", "event_type", "timestamp")


class Chunk(NamedTuple):
    """Some events of the archive.

    Args:
        users: the events of each user, the latest to arrive first.
        reached: name of the last part that is in here; later chunks are of parts before it.
    """

    users: list[list[Archived]]
    reached: str


def latest_ms(folder: Path) -> int:
    """When the latest entry arrived that a folder of parts has, ms by Redis' clock; 0 where it has none."""
    return max((span_of(path)[1] for path in folder.glob(PARTS)), default=0)


def chunks(
    folder: Path, *, before: str = "", recent_from_ms: int, bought_from_ms: int, purchases: Collection[str]
) -> Iterator[Chunk]:
    """Read what may be given back.

    Args:
        folder: parts of the events.
        before: only of parts before this one; "": all.
        recent_from_ms: events are wanted that arrived since then, by Redis' clock.
        bought_from_ms: and purchases since then.
        purchases: types of events that mean buying.
    """
    paths = sorted((path for path in folder.glob(PARTS) if not before or path.name < before), reverse=True)
    wanted = [path for path in paths if span_of(path)[1] >= min(recent_from_ms, bought_from_ms)]
    held: list[pa.Table] = []
    n_parts = 0
    for path in wanted:
        held += _read(path, None if span_of(path)[1] >= recent_from_ms else purchases)
        n_parts += 1
        if path is wanted[-1] or n_parts >= CHUNK_PARTS or sum(table.num_rows for table in held) >= CHUNK_ROWS:
            yield Chunk(_by_user(held), path.name)
            held, n_parts = [], 0


def _read(path: Path, only: Collection[str] | None) -> list[pa.Table]:
    """A part's events, or only those of some types; none where it cannot be read, which is told."""
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        log.error("a part of the archive cannot be read", part=str(path), error=str(error))
        return []
    if only is not None:
        table = table.filter(pc.is_in(table["event_type"], value_set=pa.array(sorted(only), pa.string())))
    return [table] if table.num_rows else []


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
