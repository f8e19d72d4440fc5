"""A user's recent events as a worker remembers them: by column, 32 bytes an event where an object of each takes 400.

Ids of items and types of events are shared by all users who have them. Of an event's own id its hash is kept, which is
what it takes to know the event again (two in 200 share one once in 10^14 users).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.events import Event, Past

Floats = NDArray[np.float64]
Marks = NDArray[np.int64]
_NO_TIMES: Floats = np.zeros(0)
_NO_MARKS: Marks = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Recent(Sequence[Past]):
    """Events in the order of their arrival.

    Args:
        items: id of each one's item.
        types: of each.
        times_s: float64 [n]; when each happened, UTC seconds.
        marks: int64 [n]; hash of each one's id in this process, that of "" where it was stored before ids were.
    """

    items: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    times_s: Floats = field(default_factory=lambda: _NO_TIMES)
    marks: Marks = field(default_factory=lambda: _NO_MARKS)

    @classmethod
    def of_entries(cls, entries: Iterable[bytes]) -> Recent:
        """From the `Event.entry` of each."""
        found: list[list[Any]] = orjson.loads(b"[%b]" % b",".join(entries))
        if any(map((3).__eq__, map(len, found))):  # of before ids were kept
            found = [[*one, ""][:4] for one in found]
        return cls._of(found)

    @classmethod
    def of_events(cls, events: Iterable[Event]) -> Recent:
        """Of events that have just happened."""
        return cls._of([(one.item_id, one.event_type, one.timestamp, one.event_id) for one in events])

    @classmethod
    def _of(cls, rows: Sequence[Sequence[Any]]) -> Recent:
        if not rows:
            return cls()
        items, types, times_s, event_ids = zip(*rows, strict=True)  # column by column: there are hundreds
        return cls(
            tuple(map(intern, items)),
            tuple(map(intern, types)),
            np.array(times_s, dtype=np.float64),
            np.array(list(map(hash, event_ids)), dtype=np.int64),
        )

    def then(self, more: Recent, cap: int) -> Recent:
        """With more of them behind, the latest `cap` of all."""
        return Recent(
            (self.items + more.items)[-cap:],
            (self.types + more.types)[-cap:],
            np.concatenate([self.times_s, more.times_s])[-cap:].copy(),  # a part would keep the whole
            np.concatenate([self.marks, more.marks])[-cap:].copy(),
        )

    def unknown(self, events: Iterable[Event]) -> list[Event]:
        """Those of some events that are not among these."""
        known = set(self.marks.tolist())
        return [event for event in events if hash(event.event_id) not in known]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Past: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Past]: ...

    def __getitem__(self, place: int | slice) -> Past | Sequence[Past]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return Past(self.items[place], self.types[place], float(self.times_s[place]))

    def __iter__(self) -> Iterator[Past]:
        return map(Past, self.items, self.types, self.times_s.tolist())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Recent)
            and (self.items, self.types) == (other.items, other.types)
            and np.array_equal(self.times_s, other.times_s)
            and np.array_equal(self.marks, other.marks)
        )

    def __hash__(self) -> int:
        return hash((self.items, self.types))
