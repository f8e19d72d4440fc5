"""Random ids of answers and requests.

They come from the system's generator, a block at a time: a call of the system for each would cost a kept answer a tenth
of its time.
"""

from __future__ import annotations

import os
import secrets
from collections import deque

BLOCK = 256
"""Ids that are read at once."""
_read: deque[str] = deque()
os.register_at_fork(after_in_child=_read.clear)  # or two processes would give the same


def new_id() -> str:
    """32 hex digits that nobody can guess and nothing else was given."""
    try:
        return _read.pop()  # no two threads get the same
    except IndexError:
        digits = secrets.token_hex(16 * BLOCK)
        _read.extend(digits[start : start + 32] for start in range(32, len(digits), 32))
        return digits[:32]
