"""A knowledge graph whose behavior is event by event, each with its time, for sampling without a look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from features.errors import InputError
from features.interactions import Interactions
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import behavior, is_company, reverse

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def temporal_data(graph: KnowledgeGraph, events: Interactions) -> HeteroData:
    """`KnowledgeGraph.to_hetero` with one edge an event, and the time of each under "time", float64, UTC seconds.

    Relations of company (shared users, shared items) are left out: they sum up all events, the later ones too.

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
        if is_company(edge_type) or is_company(reverse(edge_type)):
            del data[edge_type]
    for event_type in sorted(set(events.event_type.tolist())):
        rows = np.flatnonzero(events.event_type == event_type)
        pair = torch.from_numpy(np.stack([events.user_idx[rows], events.item_idx[rows]]))
        for edge_type, index in ((behavior(event_type), pair), (reverse(behavior(event_type)), pair.flip(0))):
            data[edge_type].edge_index = index
            data[edge_type].edge_weight = torch.from_numpy(events.weight[rows])
            data[edge_type].time = torch.from_numpy(events.timestamp[rows])
    return data
