"""The parts of a stream's archive: how they are named, and how several become one of which nobody sees half.

A part is never changed, and its name is never used again. One part takes the place of several in four steps, of which
one process at a time, that holds `LOCK`, may take any:

1. the new part is written under a hidden name;
2. `REPLACED` says which parts it will replace: they count no longer from when it is there;
3. it is moved to its place: from now on it counts, and those that it replaces do not;
4. `REPLACED` says that these are being removed, and they are.

Whoever was killed in between leaves a folder in which the same entries count as before or as after; what is left of
step 4 is done by the next that holds the lock. Readers need no lock. A folder is not listed in one moment, but
`REPLACED` changes between a part's arrival and the removal of any that it replaces: while it stays the same, what a
listing may lack has not counted yet, or does not count any more.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.aside import replacing, sync
from features.errors import InputError
from features.locks import held

LOCK = "compaction.lock"
REPLACED = "replaced.json"
GROUP_ROWS = 20_000
"""Rows that can be read at once of a large part."""
WAIT_S = 60.0
"""A reader that needs the parts to stay as they are waits for so long."""
UNFINISHED_S = 86_400
"""What has a hidden name for longer is nobody's any more."""
_NAME = re.compile(r"part-(\d+-\d+)_(\d+-\d+)(?:-(\d+)-(\d+)-[0-9a-f]+)?\.parquet")


class Span(NamedTuple):
    """What a part's name says.

    Args:
        first: the id of its first entry, as `padded` writes it.
        last: of its last one.
        rows: how many it has; None where the name is an older one, which does not say.
        rounds: how often its rows were put together with others at most; 0 as they were collected.
    """

    first: str
    last: str
    rows: int | None
    rounds: int


class _Replaced(NamedTuple):
    """Which parts do not count where another one is there, and whether they are being removed."""

    by: str
    parts: Sequence[str]
    removing: bool


def padded(entry_id: str) -> str:
    """A stream id such that text order is time order: "1700000000000-5" → "01700000000000-000005"."""
    milliseconds, _, sequence = entry_id.partition("-")
    return f"{int(milliseconds):014d}-{int(sequence or 0):06d}"


def moment_ms(entry_id: str) -> int:
    """When an entry came, ms by Redis' clock."""
    return int(entry_id.partition("-")[0])


def span_of(name: str) -> Span:
    """What a part's name says.

    Raises:
        InputError: no part is named so.
    """
    said = _NAME.fullmatch(name)
    if said is None:
        raise InputError(
            f"files part-*.parquet of an archive are named by their entries, {name!r} is not: move it away"
        )
    first, last, rows, rounds = said.groups()
    return Span(first, last, None if rows is None else int(rows), int(rounds or 0))


def part_names(folder: Path) -> list[str]:
    """The parts that count, in the order of their first entries: each entry of the stream is in one of them.

    A part may be replaced before it is read; then it is gone (`FileNotFoundError`), and they must be asked for again.

    Raises:
        InputError: what is said of replaced parts cannot be read.
    """
    while True:
        before = _note_of(folder)
        names = _listed(folder)
        if _note_of(folder) == before:
            break
    said = _read_note(folder, before)
    if said is not None and said.by in names:
        names.difference_update(said.parts)
    return sorted(names)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A part's rows; `pq.read_table`, made for folders of large files, takes more than twice as long for a small one.

    Raises:
        FileNotFoundError: it has been replaced.
    """
    with pq.ParquetFile(path) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)


def write_part(folder: Path, table: pa.Table, first: str, last: str, *, instead_of: Sequence[str] = ()) -> str:
    """Write a part, whole or not at all; when this returns, it is on disk.

    Args:
        folder: where it goes.
        table: its rows, in the order of the stream.
        first: id of the first entry, padded.
        last: of the last one.
        instead_of: parts whose rows these are, that are removed; hold `LOCK` then.

    Returns:
        Its name.
    """
    rounds = max((span_of(name).rounds + 1 for name in instead_of), default=0)
    name = f"part-{first}_{last}-{len(table)}-{rounds}-{secrets.token_hex(8)}.parquet"
    with replacing(folder / name) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", row_group_size=GROUP_ROWS)
        sync(unfinished)
        if instead_of:
            _note(folder, _Replaced(name, instead_of, removing=False))
    sync(folder)
    if instead_of:
        remove_replaced(folder)
    return name


def remove_replaced(folder: Path) -> None:
    """Remove parts that another one has replaced, where that was begun; hold `LOCK`."""
    said = _read_note(folder, _note_of(folder))
    if said is None or not (folder / said.by).exists():
        return
    if not said.removing:
        _note(folder, said._replace(removing=True))
    for name in said.parts:
        (folder / name).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what workers that were killed while they wrote have left, a day later."""
    for path in folder.glob(".*"):
        with suppress(FileNotFoundError):
            if path.name.startswith((".part-", f".{REPLACED}.")) and path.stat().st_mtime < time.time() - UNFINISHED_S:
                path.unlink()


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """No part is replaced meanwhile; new ones may come.

    Raises:
        InputError: parts are being replaced all the time.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # a disk that knows no locks, or may not be written to: nothing is replaced there
            if not stack.enter_context(held(folder / LOCK, shared=True, wait_s=WAIT_S)):
                raise InputError(f"{folder / LOCK} was held for {WAIT_S:g} s: does a recsys log collect hang?")
        yield


def _listed(folder: Path) -> set[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - paths would take much where there are a million
    except FileNotFoundError:
        return set()
    return {name for name in names if name.startswith("part-") and name.endswith(".parquet")}


def _note(folder: Path, said: _Replaced) -> None:
    with replacing(folder / REPLACED) as unfinished:
        unfinished.write_bytes(orjson.dumps(said._asdict()))
        sync(unfinished)
    sync(folder)


def _note_of(folder: Path) -> bytes:
    try:
        return (folder / REPLACED).read_bytes()
    except FileNotFoundError:
        return b""


def _read_note(folder: Path, note: bytes) -> _Replaced | None:
    if not note:
        return None
    try:
        said = orjson.loads(note)
        return _Replaced(str(said["by"]), [str(name) for name in said["parts"]], bool(said["removing"]))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        path = folder / REPLACED
        raise InputError(
            f"{path} must say which parts are replaced, it is damaged: restore it, or remove it, at which some entries "
            "may stand in two parts (recsys log merge leaves them out)"
        ) from error
