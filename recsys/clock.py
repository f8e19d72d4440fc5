"""What a long command took: seconds a step, and memory."""

from __future__ import annotations

import resource
import sys
import time


class Clock:
    """Seconds between one step and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """What went by since the last lap belongs to `step`."""
        now = time.perf_counter()
        self.seconds[step] = round(now - self._last, 1)
        self._last = now


def peak_bytes() -> int:
    """Most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
