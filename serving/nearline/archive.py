"""Stream entries as parquet parts on disk, each entry once.

A part is written beside its place and renamed into it, under a name that says from which entry to which. Only then are
its entries acknowledged. A worker that is killed between the two is handed the entries again and looks into the parts
that may hold them before it writes. Two workers that write the same entry at the same moment are possible where one
was thought dead and was not; `merge` then keeps one of the two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from features.errors import InputError
from serving.nearline.group import Entry
from serving.nearline.rows import ENTRY, Row, Rows

log = structlog.get_logger()

REFUSED = "refused.jsonl"
KEYS = {"impressions": [ENTRY, "position"], "events": ["user_id", "event_id"]}
"""Columns by which a row is known to be the same."""
ORDER = {"impressions": [ENTRY, "position"], "events": [ENTRY]}
"""Columns by which rows are put in order."""


class Archive:
    """Parts of one stream.

    Args:
        folder: where they lie; made where absent.
        rows: how an entry reads as rows.
    """

    def __init__(self, folder: Path, rows: Rows) -> None:
        self._folder = folder
        self._rows = rows
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, entries: Sequence[Entry], *, again: bool) -> int:
        """Keep entries; what cannot be read goes to `refused.jsonl` with the reason.

        Args:
            entries: oldest first.
            again: whether some may be here already.

        Returns:
            Rows written.
        """
        known = self._known(entries) if again else frozenset()
        rows: list[Row] = []
        for entry_id, fields in entries:
            if entry_id in known:
                continue
            try:
                rows += self._rows(entry_id, fields)
            except (InputError, UnicodeDecodeError) as error:
                self._refuse(entry_id, fields, str(error))
        if rows:
            first, last = rows[0][ENTRY], rows[-1][ENTRY]
            path = self._folder / f"part-{_padded(first)}_{_padded(last)}.parquet"
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            pq.write_table(pa.Table.from_pylist(rows), aside, compression="zstd")
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(path)
        return len(rows)

    def _known(self, entries: Sequence[Entry]) -> frozenset[str]:
        first, last = _padded(entries[0][0]), _padded(entries[-1][0])
        known: set[str] = set()
        for path in self._folder.glob("part-*.parquet"):
            begins, ends = path.stem.removeprefix("part-").split("_")
            if begins <= last and first <= ends:
                known.update(pq.read_table(path, columns=[ENTRY])[ENTRY].to_pylist())
        return frozenset(known)

    def _refuse(self, entry_id: str, fields: dict[str, bytes], why: str) -> None:
        log.warning("entry refused", archive=self._folder.name, entry_id=entry_id, why=why)
        shown = {name: value.decode(errors="replace")[:1000] for name, value in fields.items()}
        with (self._folder / REFUSED).open("ab") as file:
            file.write(orjson.dumps({"entry_id": entry_id, "rule": why, "value": shown}) + b"\n")


def merge(folder: Path, out: Path, *, kind: str) -> tuple[int, int]:
    """All parts as one file in the order of the stream, each row once.

    Args:
        folder: parts of one stream.
        out: the .parquet file.
        kind: "impressions" or "events".

    Returns:
        Rows written, and rows left out as they stood there twice.

    Raises:
        InputError: there is no part.
    """
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(f"{folder} must hold part-*.parquet files, it holds none: run recsys log collect first")
    table = pa.concat_tables([pq.read_table(path) for path in parts], promote_options="default")
    rows = pa.array(range(table.num_rows))
    first = table.append_column("row", rows).group_by(KEYS[kind]).aggregate([("row", "min")])["row_min"]
    kept = table.take(first)
    halves = pc.split_pattern(kept[ENTRY], "-")
    order = pa.table({str(half): pc.list_element(halves, half).cast(pa.int64()) for half in (0, 1)})
    by = [*order.column_names, *ORDER[kind][1:]]
    for name in ORDER[kind][1:]:
        order = order.append_column(name, kept[name])
    kept = kept.take(pc.sort_indices(order, sort_keys=[(name, "ascending") for name in by]))
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    pq.write_table(kept, aside, compression="zstd")
    aside.replace(out)
    return kept.num_rows, table.num_rows - kept.num_rows


def _padded(entry_id: str) -> str:
    """A stream id such that text order is time order: "1700000000000-5" → "01700000000000-000005"."""
    milliseconds, _, sequence = entry_id.partition("-")
    return f"{int(milliseconds):014d}-{int(sequence or 0):06d}"
