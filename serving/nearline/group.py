"""Read a Redis stream as one of several workers, so that each entry is handled by one of them and none is lost.

An entry is handed out, then acknowledged once its effect is on disk. A worker that is killed in between finds its
entries again when it comes back under its name; should it not come back, another takes them over. So an entry may
be handed out twice, and what is done with it must be the same done twice (`serving/nearline/archive.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import ResponseError

log = structlog.get_logger()

Entry = tuple[str, dict[str, bytes]]
"""Id and fields."""


@dataclass(frozen=True)
class Batch:
    """Entries to handle together.

    Args:
        entries: oldest first.
        again: whether they were handed out before, and may have been handled then.
    """

    entries: list[Entry]
    again: bool


class StreamGroup:
    """One worker's view of a stream.

    Args:
        client: of Redis, answers as bytes.
        stream: its key; it need not be there yet.
        group: workers of one group share the entries; every group sees all.
        worker: this worker's name, the same after a restart.
        size: entries a batch at most.
        abandoned_after_s: entries that another worker has held for so long are taken over.

    Attributes:
        size: as given.
    """

    def __init__(
        self, client: Redis, stream: str, *, group: str, worker: str, size: int, abandoned_after_s: float
    ) -> None:
        self._client = client
        self._stream = stream
        self._group = group
        self._worker = worker
        self.size = size
        self._abandoned_ms = int(1000 * abandoned_after_s)
        self._own_done = False

    def join(self) -> None:
        """Make the group where it is not there; a new one begins with the oldest entry."""
        with suppress(ResponseError):  # BUSYGROUP: it is there
            self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)

    def batches(self) -> Iterator[Batch]:
        """Everything there is to do now: what this worker held before, what others abandoned, then what is new. What
        comes while the last of it is dealt with is for another time, as in a busy stream there always is some.

        Say `done` of each batch before asking for the next: what is not acknowledged is handed out again.
        """
        if not self._own_done:
            yield from self._own()
            self._own_done = True
        while taken := self._abandoned():
            yield Batch(taken, again=True)
        while new := self._read(">"):
            yield Batch(new, again=False)
            if len(new) < self.size:
                break

    def done(self, entries: Sequence[Entry]) -> None:
        """Acknowledge: the effect of these entries is on disk."""
        self._client.xack(self._stream, self._group, *[entry_id for entry_id, _ in entries])

    def lag(self) -> tuple[int, int]:
        """How far behind the group is.

        Returns:
            Entries not yet handed out, and entries that the stream's cap cut off before anybody read them.
        """
        about: dict[str, Any] = self._client.xinfo_stream(self._stream)
        groups: list[dict[str, Any]] = self._client.xinfo_groups(self._stream)
        group = next((one for one in groups if one["name"].decode() == self._group), None)
        if group is None:  # Redis was emptied just now, and somebody has told the stream something since
            return 0, 0
        read = group["entries-read"] or 0
        cut = about["entries-added"] - about["length"]
        lost = max(0, cut - read)
        return max(0, about["entries-added"] - max(read, cut)), lost

    def _own(self) -> Iterator[Batch]:
        while held := self._read("0"):  # acknowledged ones are not handed out again, so this ends
            yield Batch(held, again=True)

    def _abandoned(self) -> list[Entry]:
        answer: Any = self._client.xautoclaim(
            self._stream, self._group, self._worker, min_idle_time=self._abandoned_ms, count=self.size
        )
        return _entries(answer[1])

    def _read(self, after: str) -> list[Entry]:
        answer: Any = self._client.xreadgroup(self._group, self._worker, {self._stream: after}, count=self.size)
        entries = _entries(answer[0][1]) if answer else []
        cut = [(entry_id, fields) for entry_id, fields in entries if not fields]
        if cut:  # by the stream's cap, while this worker held them: nobody can read them any more
            log.error("entries were cut off while they were held", stream=self._stream, entries=len(cut))
            self.done(cut)
            return self._read(after) if len(cut) == len(entries) else [one for one in entries if one[1]]
        return entries


def _entries(raw: Any) -> list[Entry]:
    return [
        (entry_id.decode(), {name.decode(): value for name, value in (fields or {}).items()})
        for entry_id, fields in raw
    ]
