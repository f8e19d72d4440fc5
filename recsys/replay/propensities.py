"""Propensities for logs that have none: counted, and never mistaken for logged ones."""

from __future__ import annotations

import numpy as np

from recsys.replay.log import Log
from recsys.replay.policy import shown_counts

LEAST_A_PAIR = 5.0
"""Rows there must be for each item of a cell, on average, so that cells are told apart by group, too."""


def estimate_propensities(log: Log) -> str:
    """Write into a log how often each item was shown in slots of its kind.

    The kinds are positions and groups (a multinomial model of the policy); positions alone where groups are too small,
    and then a policy that treats groups differently is mistaken for one that does not.

    Args:
        log: its propensities are overwritten.

    Returns:
        how they were estimated, in words.
    """
    shown = shown_counts(log)
    there = int((shown.sum(axis=1) > 0).sum())
    how = "counted by position and group"
    if len(log.groups) == 1 or len(log) < LEAST_A_PAIR * there * len(log.items):
        by_position = shown.reshape(log.n_positions, len(log.groups), -1).sum(axis=1, keepdims=True)
        shown = np.broadcast_to(by_position, (log.n_positions, len(log.groups), len(log.items))).reshape(shown.shape)
        how = "counted by position"
    of_cell = shown.sum(axis=1)
    for rows in log.chunks():
        log.propensity[rows.within] = shown[rows.cell, rows.item_idx] / of_cell[rows.cell]
    return how
