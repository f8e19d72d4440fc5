"""Parts of the traffic: positions, groups of visitors, stretches of time, and what a log brings of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log, Rows
from recsys.replay.tally import Grouping

STRETCHES = "time"
N_STRETCHES = 20


def standard_groupings(log: Log) -> tuple[list[Grouping], list[float]]:
    """The groupings of a log with its own segments, and the end of each stretch of time.

    Time is cut into stretches of equal length, or into runs of equal many rows where the log has no times.
    """
    found = []
    if log.n_positions > 1:
        labels = tuple(f"position {position}" for position in range(log.n_positions))
        found.append(Grouping("position", labels, lambda rows: np.minimum(rows.position, log.n_positions - 1)))
    if len(log.groups) > 1:
        found.append(Grouping("group", log.groups, lambda rows: rows.group))
    found += [Grouping(name, labels, _coded(code)) for name, (labels, code) in log.segments.items()]
    ends = [(float(rows.timestamp.min()), float(rows.timestamp.max())) for rows in log.chunks()]
    known = bool(np.isfinite(ends).all())
    first, last = (min(ends)[0], max(last for _, last in ends)) if known else (0.0, float(len(log)))
    edges = np.linspace(first, last, N_STRETCHES + 1)

    def stretch(rows: Rows) -> NDArray[np.int64]:
        line = rows.timestamp if known else np.arange(rows.start, rows.start + len(rows), dtype=np.float64)
        return np.clip(np.searchsorted(edges, line, side="right") - 1, 0, N_STRETCHES - 1)

    labels = tuple(f"stretch {number + 1} of {N_STRETCHES}" for number in range(N_STRETCHES))
    found.append(Grouping(STRETCHES, labels, stretch))
    return found, edges[1:].tolist()


def _coded(code: NDArray[np.integer]) -> Callable[[Rows], NDArray[np.integer]]:
    return lambda rows: code[rows.within]
