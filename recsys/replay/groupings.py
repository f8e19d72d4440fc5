"""Parts of the traffic that every log has: positions, groups of visitors, stretches of time."""

from __future__ import annotations

import numpy as np

from recsys.replay.log import Log
from recsys.replay.tally import Grouping

STRETCHES = "time"
N_STRETCHES = 20


def standard_groupings(log: Log) -> tuple[list[Grouping], list[float]]:
    """The groupings of a log, and the end of each stretch of time.

    Time is cut into stretches of equal length, or into runs of equal many rows where the log has no times.
    """
    found = []
    if log.n_positions > 1:
        labels = tuple(f"position {position}" for position in range(log.n_positions))
        found.append(Grouping("position", labels, np.minimum(log.position, log.n_positions - 1)))
    if len(log.groups) > 1:
        found.append(Grouping("group", log.groups, log.group))
    time = np.asarray(log.timestamp)
    known = bool(np.isfinite(time).all()) and len(log) > 0
    line = time if known else np.arange(len(log), dtype=np.float64)
    edges = np.linspace(line.min(), line.max(), N_STRETCHES + 1)
    code = np.clip(np.searchsorted(edges, line, side="right") - 1, 0, N_STRETCHES - 1)
    labels = tuple(f"stretch {number + 1} of {N_STRETCHES}" for number in range(N_STRETCHES))
    found.append(Grouping(STRETCHES, labels, code.astype(np.int8)))
    until = edges[1:].tolist() if known else (edges[1:] + 1.0).tolist()
    return found, until
