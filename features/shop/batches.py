"""Tables that do not fit into memory, a batch of rows after the other, each as `tables.read_table` would read it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.tables import SUFFIXES, as_frame, csv_header, csv_options, json_rows, rows_frame

BATCH = 65_536
"""Rows of a batch, about."""
CSV_BYTES = 1 << 22
"""Of a CSV file read at once."""
_BUFFER_BYTES = 1 << 20


class TableFile:
    """A table on disk.

    Args:
        path: a file ending in .parquet, .csv or .jsonl.

    Raises:
        InputError: it cannot be read as what its name says.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise InputError(f"a table must end in {', '.join(SUFFIXES)}, got {path.name!r}")
        if not path.is_file():
            raise InputError(f"{path} does not exist")
        self.path = path
        try:
            self.columns = self._columns()
        except (OSError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
            raise InputError(f"{path} cannot be read: {error}") from error

    def _columns(self) -> list[str]:
        """Names of the columns; of JSON lines those of any line, which takes a pass of its own."""
        if self.path.suffix == ".parquet":
            return list(pq.read_schema(self.path).names)
        if self.path.suffix == ".csv":
            return csv_header(self.path)
        return list(dict.fromkeys(name for _, row in json_rows(self.path, None) for name in row))

    def batches(self, wanted: list[str], *, quarantine: Quarantine) -> Iterator[pd.DataFrame]:
        """The rows in order, as frames whose index is each row's position in the file, from 0.

        Args:
            wanted: columns; a CSV file's other columns may be there, too.
            quarantine: takes the rows that are no rows.

        Raises:
            InputError: the file cannot be read on.
        """
        by_kind = {".parquet": self._parquet, ".csv": self._csv, ".jsonl": self._jsonl}
        try:
            yield from by_kind[self.path.suffix](wanted, quarantine)
        except (OSError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
            raise InputError(f"{self.path} cannot be read: {error}") from error

    def _parquet(self, wanted: list[str], _: Quarantine) -> Iterator[pd.DataFrame]:
        start = 0
        with pq.ParquetFile(self.path, buffer_size=_BUFFER_BYTES) as file:
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted, use_threads=False):
                frame = as_frame(pa.Table.from_batches([batch]))
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield frame

    def _csv(self, _: list[str], quarantine: Quarantine) -> Iterator[pd.DataFrame]:
        refused: list[int] = []
        start = 0
        options = csv_options(self.path, self.columns, quarantine, refused)
        options["read_options"].block_size = CSV_BYTES
        with pa_csv.open_csv(self.path, **options) as reader:
            for batch in reader:
                frame = as_frame(pa.Table.from_batches([batch]))
                # the reader may be ahead of this batch: those refused further down come later
                there = np.setdiff1d(np.arange(start, start + len(frame) + len(refused)), refused)[: len(frame)]
                frame.index = pd.Index(there)
                if len(there):
                    start = int(there[-1]) + 1
                    refused[:] = [number for number in refused if number >= start]
                yield frame

    def _jsonl(self, wanted: list[str], quarantine: Quarantine) -> Iterator[pd.DataFrame]:
        rows = json_rows(self.path, quarantine)
        while some := list(islice(rows, BATCH)):
            yield rows_frame([row for _, row in some], [number for number, _ in some], wanted)
