"""Propensities for logs that have none: counted, and never mistaken for logged ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_A_PAIR = 5.0
"""Rows there must be for each item of a cell, on average, so that cells are told apart by group, too."""


def estimate_propensities(
    item_idx: NDArray[np.integer], position: NDArray[np.integer], group: NDArray[np.integer], n_items: int
) -> tuple[NDArray[np.float64], str]:
    """How often the item was shown in slots of this kind.

    The kinds are positions and groups (a multinomial model of the policy); positions alone where groups are too small,
    and then a policy that treats groups differently is mistaken for one that does not.

    Args:
        item_idx: int [n].
        position: int [n].
        group: int [n].
        n_items: of the vocabulary.

    Returns:
        float64 [n] in (0, 1], and how they were estimated, in words.
    """
    kinds = position.astype(np.int64) * (int(group.max(initial=0)) + 1) + group
    how = "counted by position and group"
    cells = np.unique(kinds).size
    if int(group.max(initial=0)) == 0 or len(item_idx) < LEAST_A_PAIR * cells * n_items:
        kinds, how = position.astype(np.int64), "counted by position"
    _, cell = np.unique(kinds, return_inverse=True)
    pair = cell.astype(np.int64) * n_items + item_idx
    shown = np.bincount(pair, minlength=(int(cell.max(initial=0)) + 1) * n_items)
    found: NDArray[np.float64] = shown[pair] / np.bincount(cell)[cell]
    return found, how
