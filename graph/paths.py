"""The most telling ways from one node to another: what connects a user to an item, and how strongly.

An edge is told by w / sqrt(D_a D_b), D the summed weights of the relation at its two ends: the share at which a message
passes along it (Kipf and Welling 2017), small where an end is connected to everything. A path is as telling as the
product of its edges, so the most telling one is the shortest by the sum of -log (Dijkstra 1959; further ones Yen 1971).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import yen

from graph.csr import normalized
from graph.schema import EdgeType
from graph.view import Node, View

STEP_COST = 0.1
"""Added to the cost of each edge: of two ways that are as telling, the shorter."""


@dataclass(frozen=True)
class Step:
    """One edge of a path.

    Args:
        edge_type: the relation in its own direction.
        forward: whether the path goes along it or against it.
        weight: of the edge.
    """

    edge_type: EdgeType
    forward: bool
    weight: float


@dataclass(frozen=True)
class Path:
    """A way from the first node to the last.

    Args:
        nodes: n + 1 nodes.
        steps: n edges.
        strength: product of how telling its edges are, in (0, 1].
    """

    nodes: tuple[Node, ...]
    steps: tuple[Step, ...]
    strength: float


def telling_paths(view: View, start: Node, end: Node, k: int, *, direct: bool = False) -> list[Path]:
    """At most k paths that visit no node twice, the most telling first.

    Args:
        view: the graph; edges are walked in both directions.
        start: first node.
        end: last node, another one.
        k: paths.
        direct: whether an edge from the one to the other counts as a path; without it the answer says what else
            connects them.
    """
    first: dict[str, int] = {}
    n = 0
    for kind, names in view.vocabularies.items():
        first[kind] = n
        n += len(names)
    source, sink = first[start[0]] + start[1], first[end[0]] + end[1]
    telling: sparse.csr_matrix | None = None
    for edge_type in view.n_edges:
        block = normalized(view.matrix(edge_type)).tocoo()
        row, col = block.row + first[edge_type[0]], block.col + first[edge_type[2]]
        both = sparse.csr_matrix(
            (np.tile(block.data, 2), (np.concatenate([row, col]), np.concatenate([col, row]))), shape=(n, n)
        )
        telling = both if telling is None else telling.maximum(both)
    if telling is None:
        return []
    cost = sparse.coo_matrix(telling, dtype=np.float64)
    ends = {(source, sink), (sink, source)}
    kept = np.ones(cost.nnz, dtype=bool)
    if not direct:
        at = np.flatnonzero(np.isin(cost.row, [source, sink]) & np.isin(cost.col, [source, sink]))
        kept[[place for place in at.tolist() if (int(cost.row[place]), int(cost.col[place])) in ends]] = False
    value = STEP_COST - np.log(np.minimum(cost.data[kept], 1.0))
    walked = sparse.csr_matrix((value, (cost.row[kept], cost.col[kept])), shape=(n, n))
    distance, before = yen(walked, source, sink, k, return_predecessors=True)
    kinds, starts = list(first), np.array(list(first.values()))
    found: list[Path] = []
    for length, previous in zip(distance.tolist(), before, strict=True):
        joint = [sink]
        while joint[-1] != source:
            joint.append(int(previous[joint[-1]]))
        places = [int(np.searchsorted(starts, one, side="right")) - 1 for one in joint[::-1]]
        # of types without nodes, several start at one place: the last of them has the node
        nodes = tuple((kinds[place], one - int(starts[place])) for place, one in zip(places, joint[::-1], strict=True))
        strength = float(np.exp(STEP_COST * (len(nodes) - 1) - length))
        found.append(Path(nodes, tuple(_edge(view, a, b) for a, b in pairwise(nodes)), strength))
    return found


def _edge(view: View, here: Node, there: Node) -> Step:
    """The heaviest edge between two nodes."""
    best = max((edge for edge in view.neighbors(here) if edge.node == there), key=lambda edge: edge.weight)
    return Step(best.edge_type, best.outward, best.weight)
