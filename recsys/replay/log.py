"""What was shown and what came of it, as columns: the one form in which every reader hands a log to the estimators."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary

CHUNK = 65_536
"""Rows that are worked on at once; memory grows with it, not with the log."""
MOST_POSITIONS = 24
"""Positions told apart; those further down share the last cell."""
FOLDS = 5
"""Parts of the cross-fitting; a row's reward model never saw the row's own request."""
_COLUMNS = ("item_idx", "position", "reward", "propensity", "request_idx", "user_idx", "group", "timestamp")
_SCATTER = 2_654_435_761  # Knuth's multiplicative hash: neighbors fall into different folds


Coded = tuple[tuple[str, ...], NDArray[np.integer]]
"""Labels, and a code a row, int [n], -1 for none."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Some consecutive rows of a log, whole requests only; columns as in `Log`.

    Args:
        start: place of the first row in the log.
        cell: int64 [m]; position and group in one number.
        fold: int64 [m], in [0, FOLDS).
    """

    start: int
    item_idx: NDArray[np.integer]
    position: NDArray[np.integer]
    reward: NDArray[np.float64]
    propensity: NDArray[np.float64]
    request_idx: NDArray[np.integer]
    user_idx: NDArray[np.integer]
    group: NDArray[np.integer]
    timestamp: NDArray[np.float64]
    cell: NDArray[np.int64]
    fold: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item_idx)

    @property
    def within(self) -> slice:
        """Where these rows are in the log."""
        return slice(self.start, self.start + len(self))


@dataclass(frozen=True, eq=False)
class Log:
    """One row a slot that was shown by one behavior policy; columns may be memory-mapped.

    Args:
        name: such as "random/men": behavior policy and campaign.
        items: ids of everything that was or could have been shown.
        item_idx: int [n]; what was shown.
        position: int [n], >= 0; the slot.
        reward: float64 [n]; clicks, conversions, revenue.
        propensity: float64 [n] in (0, 1]; the probability with which it was shown there.
        request_idx: int [n], never falling: the slots of a request are neighbors, in the order of position.
        user_idx: int [n]; -1 where nobody knows who it was.
        group: int [n]; the kind of visitor or page; what a policy and the reward model may look at.
        timestamp: float64 [n] UTC seconds; NaN where unknown.
        groups: the names of the groups.
        given_above: the propensity of a slot is given the slots above it (a list without repeats), and not the
            probability of the item in this slot overall; for single actions these are the same.
        marginal: float64 [n]; where the propensity is given the slots above, the probability of the item in this slot
            overall, NaN where that is unknown; None where it was not logged.
        estimated: how the propensities were estimated; "" where they were logged.
        others: further reward columns, float64 [n], by name.
        segments: further parts of the traffic by name, each with the labels of its parts and a code a row, int [n], -1
            for none.
        users: ids of the users; () where `user_idx` only tells them apart.
        page: ids of items, and which of them a slot's page was of, int [n], -1 for none; None where nobody was on one.
        scenario: names of places, and which one a slot was for, int [n], -1 for none; None where no place was named.
        notes: what a reader of the results must know.

    Raises:
        ValueError: lengths differ, a row number is out of range, a propensity is not in (0, 1], a reward is not finite,
            or the requests are not in order.
    """

    name: str
    items: Vocabulary
    item_idx: NDArray[np.integer]
    position: NDArray[np.integer]
    reward: NDArray[np.float64]
    propensity: NDArray[np.float64]
    request_idx: NDArray[np.integer]
    user_idx: NDArray[np.integer]
    group: NDArray[np.integer]
    timestamp: NDArray[np.float64]
    groups: tuple[str, ...] = ("all",)
    given_above: bool = False
    estimated: str = ""
    others: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    segments: dict[str, Coded] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    page: Coded | None = None
    scenario: Coded | None = None
    marginal: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.item_idx)
        for name, column in [*((name, getattr(self, name)) for name in _COLUMNS), *self.others.items()]:
            if len(column) != n:
                raise ValueError(f"{name} must have a row a slot ({n}), it has {len(column)}")
        for part in self._parts():
            self._check(part, part.start)

    def _check(self, part: slice, start: int) -> None:
        limits = (
            ("item_idx", 0, len(self.items)),
            ("position", 0, np.iinfo(np.int64).max),
            ("group", 0, len(self.groups)),
        )
        for name, low, high in limits:
            column = getattr(self, name)[part]
            bad = np.flatnonzero((column < low) | (column >= high))
            if len(bad):
                raise ValueError(f"{name} must be in [{low}, {high}), row {start + bad[0]} has {column[bad[0]]}")
        propensity, reward = self.propensity[part], self.reward[part]
        bad = np.flatnonzero(~((propensity > 0) & (propensity <= 1)))
        if len(bad):
            raise ValueError(f"propensity must be in (0, 1], row {start + bad[0]} has {propensity[bad[0]]}")
        bad = np.flatnonzero(~np.isfinite(reward))
        if len(bad):
            raise ValueError(f"reward must be finite, row {start + bad[0]} has {reward[bad[0]]}")
        requests = self.request_idx[part.start : part.stop + 1].astype(np.int64)
        bad = np.flatnonzero(np.diff(requests) < 0)
        if len(bad):
            raise ValueError(f"requests must be in order, row {start + bad[0] + 1} has {requests[bad[0] + 1]}")

    def __len__(self) -> int:
        return len(self.item_idx)

    @cached_property
    def n_positions(self) -> int:
        """Positions told apart."""
        last = max((int(self.position[part].max()) for part in self._parts()), default=0)
        return min(last + 1, MOST_POSITIONS)

    @property
    def n_cells(self) -> int:
        """Kinds of slot: positions times groups."""
        return self.n_positions * len(self.groups)

    @cached_property
    def n_requests(self) -> int:
        """Number of requests."""
        before, found = -1, 0
        for part in self._parts():
            found += int((np.diff(self.request_idx[part], prepend=before) != 0).sum())
            before = int(self.request_idx[part][-1])
        return found

    @property
    def is_ranked(self) -> bool:
        """Whether some request shows several slots."""
        return self.n_requests < len(self)

    def rows(self, part: slice) -> Rows:
        """A part of the log."""
        position, group = self.position[part], self.group[part]
        request = self.request_idx[part]
        cell = np.minimum(position, self.n_positions - 1).astype(np.int64) * len(self.groups) + group
        fold = ((request.astype(np.uint64) * np.uint64(_SCATTER)) >> np.uint64(16)) % np.uint64(FOLDS)
        return Rows(
            part.start,
            self.item_idx[part],
            position,
            self.reward[part],
            self.propensity[part],
            request,
            self.user_idx[part],
            group,
            self.timestamp[part],
            cell,
            fold.astype(np.int64),
        )

    def chunks(self, size: int = CHUNK) -> Iterator[Rows]:
        """The whole log in parts of about `size` rows; a request is never cut."""
        start, n = 0, len(self)
        while start < n:
            stop = min(start + size, n)
            if stop < n:
                ahead = self.request_idx[stop - 1]
                while stop < n and self.request_idx[stop] == ahead:
                    stop += 1
            yield self.rows(slice(start, stop))
            self._release()
            start = stop

    def _parts(self) -> Iterator[slice]:
        for start in range(0, len(self), CHUNK):
            yield slice(start, min(start + CHUNK, len(self)))
            self._release()

    def _release(self) -> None:
        """Let go of what was read through memory maps: it would count as this process's memory."""
        further = [coded[1] for coded in (*self.segments.values(), self.page, self.scenario) if coded is not None]
        columns = (*(getattr(self, name) for name in _COLUMNS), self.marginal, *self.others.values(), *further)
        for column in columns:
            if (mapping := _mapping_of(column)) is not None:
                mapping.madvise(mmap.MADV_DONTNEED)

    def where(self, mask: NDArray[np.bool_] | slice, *, name: str | None = None) -> Log:
        """The rows of a mask, bool [n], as a log of its own over the same items; of a slice, without a copy."""
        return replace(
            self,
            name=self.name if name is None else name,
            others={other: column[mask] for other, column in self.others.items()},
            segments={segment: (labels, code[mask]) for segment, (labels, code) in self.segments.items()},
            page=None if self.page is None else (self.page[0], self.page[1][mask]),
            scenario=None if self.scenario is None else (self.scenario[0], self.scenario[1][mask]),
            marginal=None if self.marginal is None else self.marginal[mask],
            **{column: getattr(self, column)[mask] for column in _COLUMNS},
        )


def _mapping_of(column: object) -> mmap.mmap | None:
    """The memory map that a column, or a slice of it, lies in."""
    while isinstance(column, np.ndarray):
        column = column.base
    return column if isinstance(column, mmap.mmap) else None
