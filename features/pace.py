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
from typing import TypeVar

T = TypeVar("T")

WORK_S, REST_S = 0.0005, 0.003
"""Unhurried work computes for so long, then rests for so long."""
_UNHURRIED: ContextVar[bool] = ContextVar("unhurried", default=False)


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


def _resting(values: Iterable[T]) -> Iterator[T]:
    rest_at = time.perf_counter() + WORK_S
    for value in values:
        yield value
        if time.perf_counter() > rest_at:
            time.sleep(REST_S)
            rest_at = time.perf_counter() + WORK_S
