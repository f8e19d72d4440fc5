"""The loop of a near-line worker: every stream's batches handed to whoever deals with them, until told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog
from redis.exceptions import RedisError

from serving.nearline.group import Batch, StreamGroup

log = structlog.get_logger()

RETRY_S = 1.0


def follow(
    groups: Mapping[str, StreamGroup],
    handle: Callable[[str, Batch], None],
    *,
    stop: threading.Event,
    once: bool,
    wait_s: float,
    beside: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Hand out batches; while Redis is away, wait and try again.

    Every stream has its turn, and so has what is done beside, however much comes in one of them. Between turns that
    found less than a whole batch is a pause, so that what comes in it is dealt with together, as in one file.

    Args:
        groups: this worker's view of each stream; the streams are looked at in this order.
        handle: deals with a batch of a stream, and says `done` of its entries to the stream's group.
        stop: set it to end after the batch at hand.
        once: end when there is nothing left to do.
        wait_s: the pause.
        beside: does a bit of something else in each turn; whether there is more of it to do.

    Returns:
        Entries that a stream's cap cut off before anybody read them, by stream.
    """
    lost = dict.fromkeys(groups, 0)
    while not stop.is_set():
        try:
            busy = beside()
            for name, group in groups.items():
                group.join()
                lost[name] = max(lost[name], group.lag()[1])
                for batch in group.batches():
                    handle(name, batch)
                    busy = busy or len(batch.entries) >= group.size
                    if stop.is_set():
                        break
        except RedisError as error:
            if once:
                raise
            log.warning("redis is away", error=str(error))
            stop.wait(RETRY_S)
            continue
        if not busy:
            if once:
                break
            stop.wait(wait_s)
    for name, n in lost.items():
        if n:
            log.error("entries were cut off before they were read", stream=name, entries=n)
    return lost
