"""A quote that is opened in a CSV file and not closed swallows the rows after it; no reader says so by itself."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from features.errors import InputError

LONGEST_CELL = 1 << 24
"""Characters; what is longer is no cell."""


def refuse_open_quotes(path: Path) -> None:
    """Look at every row of a CSV file that runs over several lines.

    Such a row is fine where each of its quotes is closed before a comma or the end of the row, as RFC 4180 has it.
    Where it is not, some quote was meant as a sign of the text, and which rows it has swallowed cannot be told.

    Raises:
        InputError: a quote stays open; the message names the row (from 0, the header not counted) and its lines.
        UnicodeDecodeError: the file is not UTF-8.
    """
    with path.open("rb") as raw:
        if not any(line.count(b'"') % 2 for line in raw):  # no row runs over several lines
            return
    limit = csv.field_size_limit(LONGEST_CELL)
    held: list[str] = []
    row, line = -1, 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for _ in csv.reader(_holding(file, held)):
                if len(held) > 1:
                    list(csv.reader(held, strict=True))
                row, line = row + 1, line + len(held)
                held.clear()
    except csv.Error:
        where = "the line of column names" if row < 0 else f"row {row}"
        raise InputError(
            f"{path}: a quote that opens a cell must be closed (and one inside of it doubled): the one in {where} runs "
            f"on from line {line} to line {line + len(held) - 1}: {held[0].strip()[:80]!r}"
        ) from None
    finally:
        csv.field_size_limit(limit)


def _holding(lines: Iterator[str], held: list[str]) -> Iterator[str]:
    for line in lines:
        held.append(line)
        yield line
