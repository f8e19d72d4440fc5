"""Archives to put together, and how a naive reader meets them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from serving.history.archived import Chunk
from serving.nearline.archive import Archive
from serving.nearline.compaction import Compactor
from serving.nearline.parts import part_names
from serving.nearline.rows import event_rows

BEGIN_MS = 1_700_000_000_000


def entry(number: int, **more: str) -> tuple[str, dict[str, bytes]]:
    """An event's."""
    said = {"event_id": f"e{number}", "user_id": f"u{number % 5}", "item_id": f"i{number}", "event_type": "view"}
    said |= {"timestamp": repr(1.7e9 + number), **more}
    return f"{BEGIN_MS + 1000 * number}-{number % 3}", {name: text.encode() for name, text in said.items()}


def fill(folder: Path, n: int, *, a_part: int = 1, first: int = 0) -> None:
    parts = Archive(folder, event_rows)
    for start in range(first, first + n, a_part):
        parts.write([entry(number) for number in range(start, min(start + a_part, first + n))], again=False)


def read(folder: Path) -> list[str]:
    """The entries of all parts that count, as a naive reader meets them."""
    return [one for name in part_names(folder) for one in pq.read_table(folder / name)["event_id"].to_pylist()]


def given(found: Iterable[Chunk]) -> list[str]:
    """The events that chunks give back."""
    return [one.event.event_id for chunk in found for user in chunk.users for one in user]


def ids(n: int) -> list[str]:
    return [f"e{number}" for number in range(n)]


def until_done(folder: Path, kind: str = "events") -> None:
    """Looks until there is nothing to put together any more."""
    before: list[str] | None = None
    while before != (before := part_names(folder)):
        Compactor(folder, kind).look()


def parts_padded(entry_id: str) -> str:
    milliseconds, sequence = entry_id.split("-")
    return f"{int(milliseconds):014d}-{int(sequence):06d}"
