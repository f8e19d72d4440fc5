"""The ids of a bundle with those that have joined since; what it costs grows with these, not with the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from features.vocabulary import Rows, RowSequence, Vocabulary


class _Joined(RowSequence):
    """Two lists of ids as one."""

    def __init__(self, first: Sequence[str], then: Sequence[str]) -> None:
        self._first, self._then, self._n_first = first, then, len(first)

    def __len__(self) -> int:
        return self._n_first + len(self._then)

    def at(self, row: int) -> str:
        return self._first[row] if row < self._n_first else self._then[row - self._n_first]

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, self._then)


@dataclass(frozen=True, eq=False)
class _AmendedRows:
    """Rows of the ids that are not gone.

    Args:
        base: rows of the bundle's ids.
        new: of the others.
        gone: rows of the removed.
    """

    base: Rows
    new: dict[str, int]
    gone: frozenset[int]

    def get(self, outside_id: Any, default: int, /) -> int:
        row = self.new.get(outside_id, -1)
        if row < 0:
            row = self.base.get(outside_id, -1)
        return default if row < 0 or row in self.gone else row


@dataclass(frozen=True, eq=False)
class AmendedVocabulary(Vocabulary):
    """The ids of a bundle, and new ones behind them; some are gone: their rows are kept, and no id leads to them.

    Args:
        base: the ids of the bundle.
        gone: rows of the removed.
    """

    base: Vocabulary = field(kw_only=True)
    gone: frozenset[int] = field(kw_only=True)

    def __post_init__(self) -> None:
        """The ids were checked one by one as they came."""
        n_base = len(self.base)
        new = {self.ids[row]: row for row in range(n_base, len(self.ids))}
        object.__setattr__(self, "_rows", _AmendedRows(self.base._rows, new, self.gone))

    @classmethod
    def over(cls, base: Vocabulary, new: Sequence[str] = (), gone: frozenset[int] = frozenset()) -> AmendedVocabulary:
        """The ids of a bundle with new ones behind them, and without those of some rows."""
        return cls(_Joined(base.ids, new), base=base, gone=gone)
