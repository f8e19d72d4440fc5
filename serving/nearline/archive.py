"""Stream entries as parquet parts on disk, each entry once.

A part is written beside its place and renamed into it, under a name that says from which entry to which and is never
used again. Only then are its entries acknowledged. A worker that is killed between the two is handed the entries again
and looks into the parts that may hold them before it writes. Two workers that write the same entry at the same moment
are possible where one was thought dead and was not; `merge` then keeps one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from numpy.typing import NDArray

from features.aside import replacing
from features.errors import InputError
from recsys.replay.spill import SeenHashes
from serving.nearline.group import Entry
from serving.nearline.parts import padded, part_names, read_part, span_of, unchanged, write_part
from serving.nearline.rows import ENTRY, Row, Rows

log = structlog.get_logger()

REFUSED = "refused.jsonl"
KEYS = {"impressions": [ENTRY, "position"], "events": ["user_id", "event_id"]}
"""Columns by which a row is known to be the same."""
ORDER = {"impressions": [ENTRY, "position"], "events": [ENTRY]}
"""Columns by which rows are put in order."""


MERGED_ROWS = 200_000
"""Rows that a merge sorts at once, at least."""


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
            names = dict.fromkeys(name for row in rows for name in row)  # a later row may say more than the first
            table = pa.table({name: [row.get(name) for row in rows] for name in names})
            write_part(self._folder, table, padded(rows[0][ENTRY]), padded(rows[-1][ENTRY]))
        return len(rows)

    def _known(self, entries: Sequence[Entry]) -> frozenset[str]:
        first, last = padded(entries[0][0]), padded(entries[-1][0])
        while True:
            known: set[str] = set()
            try:
                for name in part_names(self._folder):
                    span = span_of(name)
                    if span.first <= last and first <= span.last:
                        known.update(read_part(self._folder / name, [ENTRY])[ENTRY].to_pylist())
            except FileNotFoundError:  # replaced meanwhile
                continue
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
    if not part_names(folder):
        raise InputError(f"{folder} must hold part-*.parquet files, it holds none: run recsys log collect first")
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = twice = 0
    seen = SeenHashes()
    with unchanged(folder):
        parts = [folder / name for name in part_names(folder)]
        schema = pa.unify_schemas([pq.read_schema(path) for path in parts], promote_options="default")
        with replacing(out) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for table in _in_order(parts, schema, kind):
                new = table.filter(pa.array(~seen.again(_hashes(table, KEYS[kind])))) if table.num_rows else table
                writer.write_table(new)
                kept, twice = kept + new.num_rows, twice + table.num_rows - new.num_rows
    return kept, twice


def _in_order(parts: Sequence[Path], schema: pa.Schema, kind: str) -> Iterator[pa.Table]:
    """The rows of all parts in the order of the stream, in tables of about `MERGED_ROWS`.

    Parts are opened in the order of their first entries, and rows go out once no part that is still closed can hold an
    earlier one, so that what is in memory are parts that overlap.
    """
    held: list[pa.Table] = []
    n_held = 0
    for place, path in enumerate(parts):
        held.append(fitted(read_part(path), schema))
        n_held += held[-1].num_rows
        last = place + 1 == len(parts)
        if not last and n_held < MERGED_ROWS:
            continue
        table, entries = sorted_rows(pa.concat_tables(held), kind)
        done = table.num_rows if last else int(np.searchsorted(entries, span_of(parts[place + 1].name).first))
        yield table.slice(0, done)
        held, n_held = [table.slice(done)], table.num_rows - done


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A part in the columns of all parts; a column it lacks is null."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def sorted_rows(table: pa.Table, kind: str) -> tuple[pa.Table, NDArray[np.str_]]:
    """Rows in the order of the stream, and the padded id of each."""
    entries, place = np.unique(table[ENTRY].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    moments = np.array([padded(entry) for entry in entries.tolist()], dtype=str)[place]
    order: NDArray[np.int64] = np.lexsort((*(table[name].to_numpy() for name in ORDER[kind][1:]), moments))
    return table.take(order), moments[order]


def _hashes(table: pa.Table, keys: Sequence[str]) -> NDArray[np.uint64]:
    """A number a row, the same for the same keys."""
    from pandas.util import hash_pandas_object  # a collector need not load it

    hashes = hash_pandas_object(table.select(list(keys)).to_pandas(), index=False)
    return hashes.to_numpy().astype(np.uint64)
