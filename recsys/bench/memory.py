"""By how much a process grew while it did something."""

from __future__ import annotations

from pathlib import Path

from recsys.clock import peak_bytes

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Growth:
    """Peak of the process's memory after this was made, less what it held then.

    Linux forgets the earlier peak on request; elsewhere only a peak above the earlier one is seen.
    """

    def __init__(self) -> None:
        self._linux = _STATUS.is_file()
        if self._linux:
            try:
                _REFS.write_text("5")
            except OSError:  # a container may forbid it
                self._linux = False
        self._before = self._held("VmRSS") if self._linux else peak_bytes()

    def bytes(self) -> int:
        """The growth so far, in bytes."""
        return max((self._held("VmHWM") if self._linux else peak_bytes()) - self._before, 0)

    @staticmethod
    def _held(name: str) -> int:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024
