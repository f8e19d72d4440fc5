"""Parts of one job side by side on the cores that a process may use: NumPy and SciPy let others run while they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from features.cores import cores

P = TypeVar("P")
R = TypeVar("R")


def n_threads() -> int:
    """Threads that this process may keep busy: OMP_NUM_THREADS where it is set, as for the libraries of numbers, or
    else as many as there are cores for it.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(told), 1) if told.isdigit() else cores()


def side_by_side(work: Callable[[P], R], parts: Iterable[P]) -> list[R]:
    """The results of all parts, in their order; what one of them raises is raised here.

    Args:
        work: depends on its part alone, so that the number of threads changes nothing.
        parts: what it is called with.
    """
    with ThreadPoolExecutor(n_threads()) as pool:
        return list(pool.map(work, parts))
