"""Two-way map between outside ids ("sku-481") and row numbers (0, 1, 2, ...).

Only this module turns one into the other, so `item_id` is always outside and `item_idx` always a row.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from features.pace import gently


class Rows(Protocol):
    """Finds rows by id, as a dictionary does."""

    def get(self, outside_id: Any, default: int, /) -> int:
        """The row of an id, or `default` where there is none."""
        ...


class RowSequence(Sequence[str]):
    """A list of ids that are found row by row."""

    @abstractmethod
    def at(self, row: int) -> str:
        """The id of a row of 0 and more; an IndexError where there are not so many."""

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...

    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        row = place if place >= 0 else place + len(self)
        if row < 0:
            raise IndexError(f"row must be in [{-len(self)}, {len(self)}), it is {place}")
        return self.at(row)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """An ordered set of outside ids.

    Args:
        ids: the id of each row, in row order; all different and not empty.

    Raises:
        ValueError: an id is empty or appears twice.
    """

    ids: Sequence[str]
    _rows: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = {outside_id: row for row, outside_id in enumerate(gently(self.ids))}
        if len(rows) != len(self.ids):
            twice = next(outside_id for row, outside_id in enumerate(self.ids) if rows[outside_id] != row)
            raise ValueError(f"ids must be unique, {twice!r} appears more than once")
        if "" in rows:
            raise ValueError(f"ids must not be empty, row {rows['']} is")
        object.__setattr__(self, "_rows", rows)

    @classmethod
    def of(cls, ids: Iterable[str]) -> Vocabulary:
        """The distinct ids in order of first appearance."""
        return cls(tuple(dict.fromkeys(ids)))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, outside_id: object) -> bool:
        return self._rows.get(outside_id, -1) >= 0

    def __getitem__(self, idx: int) -> str:
        return self.ids[idx]

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Vocabulary):
            return self is other
        return len(self) == len(other) and all(map(str.__eq__, self.ids, other.ids))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def find(self, outside_id: str) -> int:
        """Row of an id; -1 where absent."""
        return self._rows.get(outside_id, -1)

    def idx(self, outside_id: str) -> int:
        """Row of an id.

        Raises:
            KeyError: the id is not in the vocabulary.
        """
        row = self.find(outside_id)
        if row < 0:
            raise KeyError(f"unknown id {outside_id!r} (the vocabulary has {len(self)} ids)")
        return row

    def idxs(self, outside_ids: Iterable[str]) -> NDArray[np.int64]:
        """Rows of many ids, int64; -1 where absent."""
        return np.fromiter(map(self._rows.get, outside_ids, repeat(-1)), dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of the ids and their order."""
        digest = hashlib.sha256()
        for outside_id in self.ids:
            encoded = outside_id.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()
