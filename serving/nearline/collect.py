"""Follow the streams of answers and events and keep them as parquet, until told to stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis import Redis

from serving.history.returner import Returner
from serving.keys import Keys
from serving.nearline.archive import Archive
from serving.nearline.compaction import Compactor
from serving.nearline.follow import follow
from serving.nearline.group import Batch, StreamGroup
from serving.nearline.parts import moment_ms
from serving.nearline.rows import event_rows, impression_rows
from serving.settings import Settings

log = structlog.get_logger()

GROUP = "archive"


@dataclass
class Collected:
    """Counts since the start.

    Args:
        entries: handled, by stream.
        rows: written, by stream.
        lost: cut off by the stream's cap before anybody read them, by stream.
    """

    entries: dict[str, int]
    rows: dict[str, int]
    lost: dict[str, int]


def collect(
    client: Redis,
    folder: Path,
    *,
    worker: str,
    stop: threading.Event,
    once: bool = False,
    size: int = 5000,
    wait_s: float = 1.0,
    abandoned_after_s: float = 60.0,
    tenant: str = "",
    returns: Settings | None = None,
) -> Collected:
    """Move entries from the streams to `folder/impressions` and `folder/events`.

    While Redis is away it waits and tries again. An entry is acknowledged when its part is on disk. Beside, small parts
    are put together, a few in each turn.

    Args:
        client: of Redis, answers as bytes.
        folder: where the parts go; workers may share it.
        worker: this worker's name; give each its own, and the same one after a restart.
        stop: set it to end after the batch at hand.
        once: end when there is nothing left to do.
        size: entries a part at most.
        wait_s: pause between two turns, unless there is much to do.
        abandoned_after_s: entries that another worker has held for so long are taken over.
        tenant: whose streams they are; "": the service has one shop.
        returns: settings of the service whose users and counters are given back to a Redis that has lost them; None
            gives nothing back.
    """
    keys = Keys(tenant)
    streams = {
        "impressions": (keys.impressions, impression_rows),
        "events": (keys.events, event_rows),
    }
    archives = {name: Archive(folder / name, rows) for name, (_, rows) in streams.items()}
    groups = {
        name: StreamGroup(client, key, group=GROUP, worker=worker, size=size, abandoned_after_s=abandoned_after_s)
        for name, (key, _) in streams.items()
    }
    counts = Collected(dict.fromkeys(streams, 0), dict.fromkeys(streams, 0), dict.fromkeys(streams, 0))

    returner = None if returns is None else Returner(client, folder, returns)

    def handle(name: str, batch: Batch) -> None:
        if returner is not None:
            returner.vouch(moment_ms(batch.entries[-1][0]))
        counts.rows[name] += archives[name].write(batch.entries, again=batch.again)
        groups[name].done(batch.entries)
        counts.entries[name] += len(batch.entries)
        log.info("collected", stream=name, entries=len(batch.entries), again=batch.again)

    compactors = [Compactor(folder / name, name) for name in streams]

    def beside() -> bool:
        if returner is not None and returner.look():  # users wait for their events
            return True
        for compactor in compactors:
            compactor.look()
        return False

    counts.lost = follow(groups, handle, stop=stop, once=once, wait_s=wait_s, beside=beside)
    if returner is not None:
        returner.close()
    return counts
