"""Work that runs ahead of who waits for it, in bounded numbers, and results that are shelved in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.encoders.cache import VectorCache

In = TypeVar("In")
Out = TypeVar("Out")

SHELVED_AT_ONCE = 256
"""Vectors put on disk at once; a run that is killed loses at most as many."""


def run_ahead(
    work: Callable[[In], Out], items: Iterable[In], *, threads: int, ahead: int
) -> Iterator[tuple[In, Future[Out]]]:
    """Run `work` in threads, at most `ahead` items before the consumer, and hand back the futures in order.

    `items` may be the results of another `run_ahead`: then reading, decoding and inference overlap, each in its own
    threads, and none of them holds more than its few items.

    Args:
        work: done for each item.
        items: taken as they are needed.
        threads: in which work is done; 0: in the consumer's own, when it asks for the next item.
        ahead: items, at most; nothing is done ahead without threads.
    """
    if threads == 0:
        for item in items:
            done: Future[Out] = Future()
            try:
                done.set_result(work(item))
            except Exception as error:
                done.set_exception(error)
            yield item, done
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
        waiting: deque[tuple[In, Future[Out]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def shelf(cache: VectorCache) -> Iterator[Callable[[list[bytes], NDArray[np.float32]], None]]:
    """A function that takes keys and vectors, and puts them into the cache by the hundreds; what it holds when the
    block is left, by an error too, is put there as well.
    """
    keys: list[bytes] = []
    vectors: list[NDArray[np.float32]] = []

    def store() -> None:
        if keys:
            cache.append(keys, np.concatenate(vectors))
        keys.clear()
        vectors.clear()

    def put(new_keys: list[bytes], new_vectors: NDArray[np.float32]) -> None:
        keys.extend(new_keys)
        vectors.append(new_vectors)
        if len(keys) >= SHELVED_AT_ONCE:
            store()

    try:
        yield put
    finally:
        store()
