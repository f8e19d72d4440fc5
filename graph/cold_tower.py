"""Where an item that no user has met stands, from its words, its picture, and the nodes it is tied to; numpy only.

The GNN is linear up to its last step, so a newcomer's embedding is a sum (see `KGGNN.messages`):

    z = W content + sum over its values v of value_messages[v] / sqrt(number of values)
                  + sum over its look-alikes j of s_j item_messages[j] / sqrt(sum of s)        then scaled to length 1

That needs no torch and no graph, so the service can place an item within a millisecond of hearing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ColdTower:
    """What the GNN learned about items it has not seen.

    Args:
        projection: W, float32 [d_text + d_image, dim]; content is that of `graph.content.item_content`.
        value_messages: float32 [n_values, dim].
        item_messages: float32 [n_items, dim].
        prior: what is added to a newcomer's score for every user.
    """

    projection: NDArray[np.float32]
    value_messages: NDArray[np.float32]
    item_messages: NDArray[np.float32]
    prior: float


def message(
    value_messages: NDArray[np.float32],
    item_messages: NDArray[np.float32],
    *,
    values: NDArray[np.int64],
    look_alikes: NDArray[np.int64],
    likeness: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What one item hears from its attribute values and its look-alikes, float32 [dim].

    Args:
        value_messages: float32 [n_values, dim].
        item_messages: float32 [n_items, dim].
        values: rows of its attribute values, each once.
        look_alikes: rows of the items most like it; one that is so by several kinds of likeness stands there as often.
        likeness: float32 [len(look_alikes)], > 0; the cosines.
    """
    heard = np.zeros(item_messages.shape[1], dtype=np.float32)
    if len(values):
        heard += value_messages[values].sum(axis=0) / np.float32(np.sqrt(len(values)))
    if len(look_alikes):
        heard += (likeness @ item_messages[look_alikes]) / np.float32(np.sqrt(likeness.sum()))
    return heard
