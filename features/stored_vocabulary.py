"""A vocabulary that lies in a file and is looked up where it lies, so that all who opened it share its memory.

The file is a list of ids as JSON without spaces, `["sku-1","sku-2"]`. Two things are known of it beside: where each id
begins, and in which bucket of a hash it is, as CSR:

    rows[buckets[b]:buckets[b + 1]],  b = crc32(the id as JSON) mod the number of buckets, a power of 2 >= the ids

A look costs a hash and about one comparison, 0.6 us against the 0.07 us of a dictionary; but to open it costs nothing,
where 100,000 ids and their dictionary take 16 MB of each worker, and to read them holds Python's lock for 16 ms.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from features.vocabulary import RowSequence, Vocabulary

_AT_ONCE = 512
"""Ids that are read in one call, which holds up other threads for some 0.05 ms."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the ids of a file are.

    Args:
        starts: int64 [n + 1]; id i is the bytes `starts[i]:starts[i + 1] - 1` of the file.
        rows: int64 [n]; rows by bucket, rising within each.
        buckets: int64 [n_buckets + 1]; see above.

    Raises:
        ValueError: these do not fit one another.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int64]
    buckets: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, n_buckets = len(self.rows), len(self.buckets) - 1
        if n_buckets < 1 or n_buckets & (n_buckets - 1):
            raise ValueError(f"the number of buckets must be a power of 2, it is {n_buckets}")
        if not n == len(self.starts) - 1 == self.buckets[-1]:
            raise ValueError(f"buckets must hold {len(self.starts) - 1} ids, they hold {self.buckets[-1]} of {n}")

    @classmethod
    def of(cls, ids: Iterable[str]) -> Places:
        """The places of ids that are all different."""
        encoded = [orjson.dumps(outside_id) for outside_id in ids]
        n_buckets = 1 << max(0, len(encoded) - 1).bit_length()
        bucket = np.fromiter(map(crc32, encoded), dtype=np.int64, count=len(encoded)) & (n_buckets - 1)
        starts = np.cumsum([1, *(len(one) + 1 for one in encoded)])  # a comma or bracket ends each
        within = np.cumsum(np.append(0, np.bincount(bucket, minlength=n_buckets)))
        return cls(starts.astype(np.int64), np.argsort(bucket, kind="stable"), within.astype(np.int64))

    def save(self, path: Path) -> None:
        """Write them: one array, the number of ids before them."""
        every = np.concatenate([[len(self.rows)], self.starts, self.rows, self.buckets]).astype("<i8")
        with path.open("wb") as file:  # by its name `np.save` would call it .npy
            np.save(file, every, allow_pickle=False)

    @classmethod
    def map(cls, path: Path) -> Places:
        """Memory-map them.

        Raises:
            ValueError: the file does not hold them.
        """
        every = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        if every.dtype.str != "<i8" or every.ndim != 1 or not len(every):
            raise ValueError(f"{path.name} must be <i8 [n], it is {every.dtype.str} {list(every.shape)}")
        n = int(every[0])
        return cls(every[1 : n + 2], every[n + 2 : 2 * n + 2], every[2 * n + 2 :])


class StoredIds(RowSequence):
    """The ids of a file in row order, each read when it is asked for.

    Args:
        text: the file.
        starts: int64 [n + 1]; as of `Places`.
    """

    def __init__(self, text: bytes | mmap.mmap, starts: NDArray[np.int64]) -> None:
        self._text = text
        self._starts: memoryview[int] = starts.data  # its elements are Python's own numbers at once

    def __len__(self) -> int:
        return len(self._starts) - 1

    def at(self, row: int) -> str:
        """The id of a row, parsed now."""
        found: str = orjson.loads(self._text[self._starts[row] : self._starts[row + 1] - 1])
        return found

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            last = min(first + _AT_ONCE, len(self))
            yield from orjson.loads(b"[" + self._text[self._starts[first] : self._starts[last] - 1] + b"]")


class StoredRows:
    """The row of each id, as the `get` of a dictionary.

    Args:
        text: the file.
        places: where the ids are.
    """

    def __init__(self, text: bytes | mmap.mmap, places: Places) -> None:
        self._text = text
        self._starts: memoryview[int] = places.starts.data
        self._buckets: memoryview[int] = places.buckets.data
        self._rows: memoryview[int] = places.rows.data
        self._mask = len(places.buckets) - 2

    def get(self, outside_id: Any, default: int, /) -> int:
        """The row, or `default` where there is none."""
        try:
            sought = orjson.dumps(outside_id)
        except TypeError:  # half of a character beyond the basic plane, which no file holds
            return default
        starts, bucket = self._starts, crc32(sought) & self._mask
        for row in self._rows[self._buckets[bucket] : self._buckets[bucket + 1]]:
            if self._text[starts[row] : starts[row + 1] - 1] == sought:
                return row
        return default


@dataclass(frozen=True, eq=False)
class StoredVocabulary(Vocabulary):
    """The ids of a file; made by `of_file`.

    Args:
        by_id: their rows.
    """

    by_id: StoredRows = field(kw_only=True)

    def __post_init__(self) -> None:
        """The ids were checked before they were written."""
        object.__setattr__(self, "_rows", self.by_id)

    @classmethod
    def of_file(cls, text: bytes | mmap.mmap, places: Places) -> StoredVocabulary:
        """The ids that a file holds.

        Args:
            text: the file.
            places: where they are.

        Raises:
            ValueError: the places are those of another file.
        """
        n_bytes = int(places.starts[-1]) if len(places.rows) else 2
        if n_bytes != len(text):
            raise ValueError(f"ids must end where their file does, at {len(text)}, they end at {n_bytes}")
        return cls(StoredIds(text, places.starts), by_id=StoredRows(text, places))
