"""Tables of a shop folder: `NAME.parquet`, `NAME.csv` or `NAME.jsonl` as one kind of data frame.

An absent cell (null, or "" in CSV) is null in the frame. A cell that says NaN is told apart from it: it stays the float
NaN, or the text "NaN", in a column of objects, so that the readers of numbers can refuse it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.quotes import refuse_open_quotes

SUFFIXES = (".parquet", ".csv", ".jsonl")

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # pandas writes row labels as a column of this name


def find_table(folder: Path, name: str) -> Path | None:
    """The file of a table, or None.

    Raises:
        InputError: the table is there more than once.
    """
    found = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} must hold one {name} table, it holds {' and '.join(path.name for path in found)}")
    return found[0] if found else None


def read_table(
    path: Path, *, quarantine: Quarantine, wanted: Callable[[list[str]], list[str]] | None = None
) -> pd.DataFrame:
    """Read a table as it stands, with text for the cells of a CSV file.

    Args:
        path: a file ending in .parquet, .csv or .jsonl.
        wanted: of a Parquet file's columns those that are to be read; None for all. Other files are read whole.
        quarantine: takes the rows that are no rows: a CSV row with too many or too few cells, a line that is no JSON
            object.

    Returns:
        a frame whose index is each row's position in the file, from 0 (a CSV header is not counted).

    Raises:
        InputError: the file cannot be read as what its name says.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"a table must end in {', '.join(SUFFIXES)}, got {path.name!r}")
    try:
        if path.suffix == ".parquet":
            return as_frame(pq.read_table(path, columns=None if wanted is None else wanted(pq.read_schema(path).names)))
        return _read_csv(path, quarantine) if path.suffix == ".csv" else _read_jsonl(path, quarantine)
    except (OSError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A table of Parquet or CSV as this module's frames, without labels of rows."""
    table = table.drop_columns([name for name in table.column_names if _PANDAS_INDEX.fullmatch(name)])
    if len(set(table.column_names)) < len(table.column_names):
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise pa.ArrowInvalid(f"column names must differ, {twice!r} is there twice")
    whole = {kind: pd.Int64Dtype() for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}
    whole |= {kind: pd.UInt64Dtype() for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())}
    frame: pd.DataFrame = table.to_pandas(types_mapper=whole.get, date_as_object=False, ignore_metadata=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_floating(column.type):
            nan = pc.fill_null(pc.is_nan(column), fill_value=False)
            if pc.any(nan).as_py():
                cells = frame[name].astype(object)
                frame[name] = cells.where(cells.notna() | nan.to_numpy(), None)
    return frame


def _read_csv(path: Path, quarantine: Quarantine) -> pd.DataFrame:
    """Every cell as text; quotes may hold line breaks."""
    refused: list[int] = []
    options = csv_options(path, csv_header(path), quarantine, refused)
    frame = as_frame(pa_csv.read_csv(path, **options))
    frame.index = pd.Index(_numbers(len(frame), refused))
    return frame


def csv_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file.

    Raises:
        InputError: there is no line of names.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), None)
    if not header:
        raise InputError(f"{path} is empty: a CSV file starts with a line of column names")
    return [name.strip() for name in header]


def csv_options(path: Path, header: list[str], quarantine: Quarantine, refused: list[int]) -> dict[str, Any]:
    """How CSV files are read: by pyarrow, every cell as text.

    Args:
        path: of the file.
        header: names of its columns.
        quarantine: takes rows with too many or too few cells.
        refused: their positions in the file are added here.

    Raises:
        InputError: a quote swallows rows.
    """
    refuse_open_quotes(path)

    def refuse(row: pa_csv.InvalidRow) -> str:
        number = row.number - 2  # counted from 1, the header included
        rule = f"a CSV row must have as many cells as the header ({row.expected_columns}), it has {row.actual_columns}"
        quarantine.refuse(path.name, number, rule, row.text)
        refused.append(number)
        return "skip"

    return {
        "read_options": pa_csv.ReadOptions(column_names=header, skip_rows_after_names=1, use_threads=False),
        "parse_options": pa_csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=refuse, ignore_empty_lines=len(header) > 1
        ),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
        ),
    }


def _numbers(n: int, refused: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Positions in the file of the n rows that were taken, where others were refused."""
    taken = np.ones(n + len(refused), dtype=bool)
    taken[refused] = False
    return np.flatnonzero(taken).astype(np.int64)


def _read_jsonl(path: Path, quarantine: Quarantine) -> pd.DataFrame:
    """One object a line; blank lines are counted and skipped."""
    rows, numbers = [], []
    for number, row in json_rows(path, quarantine):
        rows.append(row)
        numbers.append(number)
    return rows_frame(rows, numbers, list(dict.fromkeys(name for row in rows for name in row)))


def json_rows(path: Path, quarantine: Quarantine | None) -> Iterator[tuple[int, dict[str, object]]]:
    """Objects of a file with the numbers of their lines; other lines go to quarantine, or nowhere where it is None."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                if not line.strip(b" \t\r\n\xef\xbb\xbf"):
                    continue
                row = _lenient(line, first=number == 0)
            if isinstance(row, dict):
                yield number, row
            elif quarantine is not None:
                quarantine.refuse(path.name, number, "a line must be a JSON object", line.decode("utf-8", "replace"))


def rows_frame(rows: list[dict[str, object]], numbers: list[int], names: list[str]) -> pd.DataFrame:
    """Objects as a frame with these columns."""
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))
    frame.index = pd.Index(numbers, dtype=np.int64)
    return frame


def _lenient(line: bytes, *, first: bool) -> object:
    """What strict JSON refuses: NaN as a number, and a byte-order mark in front of the file; None for no JSON."""
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        row = json.loads(text)
        text.encode("utf-8")
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # a lone surrogate can be written to no file
    except (ValueError, RecursionError):
        return None
    return row


def _column(cells: list[object]) -> pd.Series:
    """Numbers and texts in their own types; anything mixed, and NaN, as objects."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {str}:
        return pd.Series(cells, dtype="str")
    if kinds == {int} and all(-(2**63) <= cell < 2**63 for cell in cells if isinstance(cell, int)):
        return pd.Series(cells, dtype="Int64")
    if kinds == {float} and not any(cell != cell for cell in cells):  # noqa: PLR0124 - NaN differs from itself
        return pd.Series(cells, dtype="float64")
    return pd.Series(cells, dtype="object")
