"""Records on disk, sorted into parts that fit into memory: what joining and sorting a long log takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Records = NDArray[Any]
"""A structured array, one entry a row."""


class Spill:
    """Records by part, appended in any order and read back a part at a time.

    Args:
        folder: where the parts lie; it is made.
        dtype: of the records.
        n_parts: number of parts.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], n_parts: int) -> None:
        folder.mkdir()
        self._folder, self.dtype, self.n_parts = folder, dtype, n_parts

    def add(self, records: Records, part: NDArray[np.integer]) -> None:
        """Append records, each to its part, int [n]; those of a part stay in order."""
        order = np.argsort(part, kind="stable")
        sorted_records = records[order]
        ends = np.cumsum(np.bincount(part, minlength=self.n_parts)).tolist()
        for number, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
            if stop > start:
                append(self._path(number), sorted_records[start:stop])

    def part(self, number: int) -> Records:
        """The records of a part, in the order in which they came."""
        path = self._path(number)
        return np.fromfile(path, dtype=self.dtype) if path.exists() else np.zeros(0, dtype=self.dtype)

    def replace(self, number: int, records: Records) -> None:
        """Put other records in place of a part's."""
        records.tofile(self._path(number))

    def drop(self, number: int) -> None:
        """Give back the space of a part."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"


def append(path: Path, values: NDArray[Any]) -> None:
    """Write values behind those that a file holds."""
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(values).view(np.uint8).data)


class SeenHashes:
    """Which hashes have been there before, 8 bytes each: sorted runs, put together when there are many."""

    _MOST_RUNS = 16

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def again(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each hash whether it was in an earlier call or earlier in this one, bool [n]."""
        once, first = np.unique(hashes, return_index=True)
        found = np.ones(len(hashes), dtype=np.bool_)
        found[first] = False
        for run in self._runs:
            place = np.searchsorted(run, hashes)
            found |= run[np.minimum(place, len(run) - 1)] == hashes
        if len(once):
            self._runs.append(once)
        if len(self._runs) > self._MOST_RUNS:
            self._runs = [np.unique(np.concatenate(self._runs))]
        return found
