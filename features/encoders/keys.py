"""Which row of a cache holds a content: found by its key in 16 bytes of memory a row, whatever the keys are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 32
_FOLD_AT = 100_000
"""New keys are held in a dictionary, at some 200 bytes each, until there are so many."""


class _Sorted(NamedTuple):
    keys: NDArray[np.uint8]
    prefixes: NDArray[np.uint64]
    rows: NDArray[np.int64]


class KeyIndex:
    """Row numbers by key.

    The keys themselves stay in their file, memory-mapped; sorted in memory are their first 8 bytes, which SHA-256
    spreads evenly, and the rows in that order. A lookup is a binary search and one comparison with the file.

    Args:
        file: the keys one after the other; it is only ever appended to.
        n: how many of them count.
    """

    def __init__(self, file: Path, n: int) -> None:
        self._file = file
        self._recent: dict[bytes, int] = {}
        self._sorted = self._sort(n)

    def __len__(self) -> int:
        return len(self._sorted.prefixes) + len(self._recent)

    def find(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Row of each key, int64 [len(keys)]; -1 where it is not there. Any thread may ask while one adds."""
        recent, known = self._recent, self._sorted  # in this order: a key leaves the first once it is in the second
        wanted = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), KEY_BYTES)
        prefixes = _prefixes(wanted)
        found = np.full(len(keys), -1, dtype=np.int64)
        place = np.searchsorted(known.prefixes, prefixes, side="left")
        left = np.arange(len(keys))
        while len(left):  # once, but for keys that agree in their first 8 bytes
            left = left[place[left] < len(known.prefixes)]
            left = left[known.prefixes[place[left]] == prefixes[left]]
            rows = known.rows[place[left]]
            same = (known.keys[rows] == wanted[left]).all(axis=1)
            found[left[same]] = rows[same]
            left = left[~same]
            place[left] += 1
        if recent:
            for at in np.flatnonzero(found < 0).tolist():
                found[at] = recent.get(keys[at], -1)
        return found

    def add(self, keys: Sequence[bytes]) -> None:
        """Take note of keys that were appended to the file, and are on disk. For one thread."""
        for key in keys:
            self._recent[key] = len(self)
        if len(self._recent) >= _FOLD_AT:
            self._sorted = self._sort(len(self))
            self._recent = {}

    def _sort(self, n: int) -> _Sorted:
        empty = np.zeros((0, KEY_BYTES), dtype=np.uint8)
        keys = np.memmap(self._file, dtype=np.uint8, mode="r", shape=(n, KEY_BYTES)) if n else empty
        prefixes = _prefixes(keys)
        rows = np.argsort(prefixes, kind="stable")
        return _Sorted(keys, prefixes[rows], rows)


def _prefixes(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each key as a number, uint64 [len(keys)]."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64).reshape(len(keys))
