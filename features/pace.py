"""Long work in a thread beside requests: a little at a time, so that they hardly wait for the interpreter.

Python runs one thread at a time. While another one computes, an event loop waits for its turn at each step it takes,
and answers a fraction of what it could. Whoever starts such work says so by `unhurried`; loops over many rows go
`gently` over them, which costs nothing elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

WORK_S = 0.0005
"""Unhurried work computes for so long, then rests."""
LEAST_REST_S, MOST_REST_S = 0.001, 0.012
"""A rest in a process that does nothing else, and in one that is busy all the time."""
AT_ONCE = 50
"""Things that are given back before the next rest may come."""
_UNHURRIED: ContextVar[bool] = ContextVar("unhurried", default=False)


class Rests:
    """How long to rest: the longer, the busier the process has been since the last rest.

    A worker that is busy nine tenths of its time answers late if a tenth more is asked of it; one that waits for
    requests may as well get on.
    """

    def __init__(self) -> None:
        self._cpu_s, self._at_s = time.process_time(), time.perf_counter()

    def next_s(self) -> float:
        """Seconds of the rest that begins now."""
        cpu_s, at_s = time.process_time(), time.perf_counter()
        busy = min(1.0, (cpu_s - self._cpu_s) / max(at_s - self._at_s, 1e-9))
        self._cpu_s, self._at_s = cpu_s, at_s
        return LEAST_REST_S + (MOST_REST_S - LEAST_REST_S) * busy**2


@contextmanager
def unhurried() -> Iterator[None]:
    """What is done in here, and in threads that are started from here with its context, leaves time to others."""
    token = _UNHURRIED.set(True)
    try:
        yield
    finally:
        _UNHURRIED.reset(token)


def gently(values: Iterable[T]) -> Iterable[T]:
    """The same values; where work is unhurried, with a rest now and then."""
    return _resting(values) if _UNHURRIED.get() else values


def give_back(left: list[Any]) -> None:
    """Give back the memory of what nobody uses any more, a little at a time where work is unhurried.

    A container of 100,000 things that goes out of use at once gives each of them back before anything else can happen.

    Args:
        left: holds the only references that are left; empty afterwards.
    """
    for _ in gently(range(0, len(left), AT_ONCE)):
        del left[-AT_ONCE:]


def _resting(values: Iterable[T]) -> Iterator[T]:
    rests = Rests()
    rest_at = time.perf_counter() + WORK_S
    for value in values:
        yield value
        if time.perf_counter() > rest_at:
            time.sleep(rests.next_s())
            rest_at = time.perf_counter() + WORK_S
