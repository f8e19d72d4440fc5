"""A user's items as a closed form takes them: all alike, or the newest more than the oldest.

    x_ui = c_u n_ui^-r,      n_ui: 1 for the item that user u met last, 2 for the one before, ...,

with c_u such that the weights of a user's items are 1 in the mean. Who has met items one after the other goes on from
the last ones: what comes next is likelier to resemble them. The weights fade as a power, not as an exponential, so that
of a long list much stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from features.interactions import Interactions

MOST_RECENCY = 4.0
"""The second newest item then weighs a sixteenth of the newest, and the millionth is still a number in float32."""
Recency = Annotated[float, Field(ge=0, le=MOST_RECENCY)]
"""How much less a user's older items say: r of the head, 0 for all alike."""


def fading(train: Interactions, recency: float) -> sparse.csr_matrix:
    """X of the head, float32 [n_users, n_items].

    Args:
        train: events; an item met several times stands where it was met first, and one whose place in the order is not
            known weighs 1.
        recency: r; 0 makes all entries 1.

    Raises:
        ValueError: it is not in [0, `MOST_RECENCY`].
    """
    if not 0 <= recency <= MOST_RECENCY:
        raise ValueError(f"recency must be in [0, {MOST_RECENCY:g}], got {recency}")
    if recency == 0:
        return train.matrix(binary=True)
    known = train.placed if train.timestamp is None else ~np.isnan(train.timestamp)
    indptr, item = (train if known is None else train.where(known)).met()
    count = np.diff(indptr)
    place = np.repeat(indptr[1:], count) - np.arange(len(item))
    weight = place.astype(np.float64) ** -recency
    user = np.repeat(np.arange(len(count)), count)
    weight *= (count / np.maximum(np.bincount(user, weight, minlength=len(count)), 1e-300))[user]
    history = train.matrix(binary=True)
    history.data[_entries(history, user, item)] = weight
    return history


def faded(train: Interactions, recency: float) -> Interactions:
    """The same events, their weights times x of their pairs: for models that weigh events."""
    if recency == 0:
        return train
    history = fading(train, recency)
    return replace(train, weight=train.weight * history.data[_entries(history, train.user_idx, train.item_idx)])


def _entries(matrix: sparse.csr_matrix, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in `data` entries stand that are there, int64 [n]; columns rise in each row."""
    n_rows, n_columns = matrix.shape
    keys = np.repeat(np.arange(n_rows), np.diff(matrix.indptr)) * np.int64(n_columns) + matrix.indices
    return np.searchsorted(keys, row * np.int64(n_columns) + column)
