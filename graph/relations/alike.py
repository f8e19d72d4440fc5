"""Items of like content as edges, believed as far as the pictures belong to the words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.match.scores import MatchScores
from graph.knowledge_graph import EdgeList
from graph.neighbors import Neighbors


def alike_edges(neighbors: Neighbors, trust: MatchScores | None) -> EdgeList | None:
    """Edges from each item to those most like it; None where no item is like another.

    Args:
        neighbors: idx and score [n_items, k]; scores that are not positive make no edge.
        trust: the cosine counts times the match scores of both ends; an end whose score is unknown counts in full.
            None leaves the cosines as they are.
    """
    place = np.nonzero((neighbors.idx >= 0) & (neighbors.score > 0))
    src, dst = place[0].astype(np.int64), neighbors.idx[place]
    weight: NDArray[np.float32] = neighbors.score[place]
    if trust is not None:
        believed = np.where(trust.known, trust.score, np.float32(1))
        weight = weight * believed[src] * believed[dst]
    there = weight > 0
    if not there.any():
        return None
    return EdgeList(src[there], dst[there], weight[there].astype(np.float32))
