"""Behavior of a knowledge graph event by event, each with its time, for sampling without a look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from features.errors import InputError
from features.interactions import Interactions
from graph.joint import JointGraph
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import ITEM, USER, behavior, is_timeless, reverse

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def temporal_data(graph: KnowledgeGraph, events: Interactions) -> HeteroData:
    """`KnowledgeGraph.to_hetero` with one edge an event, and the time of each under "time", float64, UTC seconds.

    Relations that sum up all events or reviews, the later ones too, are left out (`graph.schema.is_timeless`).

    Args:
        graph: built of these events.
        events: over the graph's users and items.

    Raises:
        InputError: the events carry no times.
    """
    if events.timestamp is None:
        raise InputError("events must carry a timestamp to be sampled by time")
    data = graph.to_hetero()
    for edge_type in graph.edges:
        if is_timeless(edge_type):
            del data[edge_type]
    for event_type in sorted(set(events.event_type.tolist())):
        rows = np.flatnonzero(events.event_type == event_type)
        pair = torch.from_numpy(np.stack([events.user_idx[rows], events.item_idx[rows]]))
        for edge_type, index in ((behavior(event_type), pair), (reverse(behavior(event_type)), pair.flip(0))):
            data[edge_type].edge_index = index
            data[edge_type].edge_weight = torch.from_numpy(events.weight[rows])
            data[edge_type].time = torch.from_numpy(events.timestamp[rows])
    return data


def timed_behavior(
    graph: KnowledgeGraph, events: Interactions, joint: JointGraph
) -> tuple[sparse.csr_matrix, NDArray[np.float64]]:
    """The behavior of a joint graph event by event, for `Neighborhoods`.

    Args:
        graph: built of these events, without fading.
        events: each with a time.
        joint: the numbering of the nodes.

    Returns:
        float32 [n_nodes, n_nodes], an entry an event and direction, several of a pair side by side, each carrying the
        event's weight; and the times of the entries, float64 [n_entries], UTC seconds.

    Raises:
        ValueError: the events carry no times.
    """
    if events.timestamp is None:
        raise ValueError("events must carry a timestamp to be told by time")
    related = np.isin(events.event_type, [kind for kind in set(events.event_type) if behavior(kind) in graph.edges])
    rows = np.flatnonzero(related)
    user, item = joint.rows[USER].start + events.user_idx[rows], joint.rows[ITEM].start + events.item_idx[rows]
    source, target = np.concatenate([user, item]), np.concatenate([item, user])
    order = np.lexsort((source, target))
    start = np.zeros(joint.n_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(target, minlength=joint.n_nodes), out=start[1:])
    weight, time = (np.concatenate([one[rows]] * 2)[order] for one in (events.weight, events.timestamp))
    matrix = sparse.csr_matrix((weight, source[order], start), shape=(joint.n_nodes, joint.n_nodes))
    return matrix, time
