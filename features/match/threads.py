"""Small matrices are multiplied by one thread: two that wait for each other at every step are slower, and where the
machine is shared many times so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 3000
"""Pairs below which one thread does the work."""


@contextmanager
def threads_for(n_pairs: int) -> Iterator[None]:
    """Inside, torch uses one thread if there are few pairs; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if n_pairs < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
