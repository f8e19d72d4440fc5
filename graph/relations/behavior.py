"""What users did as edges: one relation an event type, recent events counting more where asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.interactions import Interactions
from graph.knowledge_graph import EdgeList
from graph.relations.sums import DAY_S, Fading, summed
from graph.schema import EdgeType, behavior


def behavior_edges(
    train: Interactions, *, half_life_days: float | None, relation: Callable[[str], EdgeType] = behavior
) -> dict[EdgeType, EdgeList]:
    """Several events of one type between a user and an item are one edge of their summed weight.

    Args:
        train: the events to learn from.
        half_life_days: an event that is so much older than the last one of `train` counts half; None forgets nothing.
        relation: what the edges of a type of event are called.

    Returns:
        Edges by relation, ordered by user and item.

    Raises:
        InputError: events shall fade but carry no times.
    """
    fading = fading_of(train, half_life_days)
    times = train.timestamp
    found: dict[EdgeType, EdgeList] = {}
    for event_type in sorted(set(train.event_type.tolist())):
        rows = np.flatnonzero(train.event_type == event_type)
        key = train.user_idx[rows] * len(train.items) + train.item_idx[rows]
        weight = train.weight[rows].astype(np.float64)
        if fading is None or times is None:
            key, total = summed(key, weight)
            shown: NDArray[np.float32] = total.astype(np.float32)
        else:
            last = float(times.max())
            period = fading.period(last)
            key, total = summed(key, fading.at_period(weight, times[rows], period))
            shown = fading.now(total, period, last)
        found[relation(event_type)] = EdgeList(key // len(train.items), key % len(train.items), shown)
    return found


def fading_of(events: Interactions, half_life_days: float | None) -> Fading | None:
    """How events fade; None where they do not.

    Raises:
        InputError: they shall, but carry no times.
    """
    if half_life_days is None:
        return None
    if events.timestamp is None:
        raise InputError(
            f"graph.half_life_days is {half_life_days:g}, but the events carry no timestamp: leave it unset"
        )
    return Fading(half_life_days * DAY_S)
