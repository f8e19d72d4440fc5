"""Where rows stand in a list of rows, looked up without sorting: by an array that holds a place for every item.

The array is written for one list and read at once; nobody clears it. What an earlier list has left in it is told by
looking whether the list has the row in the place that it names.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Places(threading.local):
    """Each thread has an array of its own.

    Args:
        n_items: rows are below it.
    """

    def __init__(self, n_items: int) -> None:
        self._place = np.zeros(n_items, dtype=np.int32)

    def first(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows are not in the list before, bool [n]."""
        places = np.arange(len(rows))
        self._place[rows[::-1]] = places[::-1]  # of several writes to one place the last one stays
        first: NDArray[np.bool_] = self._place.take(rows) == places
        return first

    def find(self, asked: NDArray[Any], rows: Rows) -> Rows:
        """The place of each row that is asked for among `rows`, all different; -1 where it is not there: int64 [n].

        Args:
            asked: whole numbers [n]; those below 0 are not there.
            rows: int64 [m].
        """
        if not len(rows):
            return np.full(len(asked), -1)
        self._place[rows] = np.arange(len(rows))
        found = self._place.take(asked, mode="clip").astype(np.int64)
        found[rows.take(found, mode="clip") != asked] = -1
        return found
