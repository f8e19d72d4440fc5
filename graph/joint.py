"""All relations of a knowledge graph as two symmetric matrices over one numbering of the nodes.

Behavior (users with items) stands apart from knowledge (attribute values and look-alikes), because an item that nobody
has met yet takes part in the second alone. Each block is normalized by itself, so that an item's embedding is a sum of
what its users, its attribute values and its look-alikes say, each with its own weight, and the lack of one leaves the
others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graph.csr import inverse_root, normalized
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import ITEM, USER

Slices = dict[str, slice]


@dataclass(frozen=True, eq=False)
class JointGraph:
    """Node rows by type, and who passes messages to whom.

    Args:
        rows: rows of each node type in the joint numbering; users first, then items.
        behavior: float32 [n, n], symmetric; users with items.
        knowledge: float32 [n, n], symmetric; owners with attribute values, items with look-alikes.
        fact_reach: float32 [n]; what an item's edge of weight 1 to a value would carry if it were the item's only one:
            the block's weight / sqrt(total weight of the value's edges), 0 where a node has none.
        alike_reach: float32 [n]; likewise of an edge to a look-alike.
    """

    rows: Slices
    behavior: sparse.csr_matrix
    knowledge: sparse.csr_matrix
    fact_reach: NDArray[np.float32]
    alike_reach: NDArray[np.float32]

    @property
    def n_nodes(self) -> int:
        """Nodes of all types together."""
        return int(self.behavior.shape[0])


def join(graph: KnowledgeGraph, *, item_facts: float, user_facts: float, look_alikes: float) -> JointGraph:
    """Number the nodes through and normalize each block.

    Args:
        graph: a validated knowledge graph.
        item_facts: weight of the items' attribute values against behavior, which has weight 1.
        user_facts: weight of the users' attribute values.
        look_alikes: weight of the content neighbors.
    """
    kinds = [USER, ITEM, *sorted(set(graph.n_nodes) - {USER, ITEM})]
    ends = np.cumsum([0, *(graph.n_nodes[kind] for kind in kinds)])
    rows = {kind: slice(int(start), int(end)) for kind, (start, end) in zip(kinds, pairwise(ends), strict=True)}
    n = int(ends[-1])
    weights = {"behavior": 1.0, "item_facts": item_facts, "user_facts": user_facts, "look_alikes": look_alikes}
    blocks: dict[str, list[sparse.csr_matrix]] = {name: [] for name in weights}
    for (source, _, target), listed in graph.forward.items():
        placed = sparse.csr_matrix(
            (listed.weight, (listed.src + rows[source].start, listed.dst + rows[target].start)), shape=(n, n)
        )
        if (source, target) == (USER, ITEM):
            blocks["behavior"].append(placed)
        elif (source, target) == (ITEM, ITEM):
            blocks["look_alikes"].append(placed)
        else:
            blocks["item_facts" if source == ITEM else "user_facts"].append(placed)
    whole = {name: _symmetric(parts, n) for name, parts in blocks.items()}
    ready = {name: weights[name] * normalized(block) for name, block in whole.items()}
    knowledge = sparse.csr_matrix(ready["item_facts"] + ready["user_facts"] + ready["look_alikes"])
    knowledge.eliminate_zeros()
    return JointGraph(
        rows,
        ready["behavior"],
        knowledge,
        fact_reach=np.float32(item_facts) * inverse_root(whole["item_facts"].sum(axis=1)).astype(np.float32),
        alike_reach=np.float32(look_alikes) * inverse_root(whole["look_alikes"].sum(axis=1)).astype(np.float32),
    )


def _symmetric(parts: list[sparse.csr_matrix], n: int) -> sparse.csr_matrix:
    """The sum of one-way blocks, made two-way."""
    one_way = sparse.diags(np.zeros(n, dtype=np.float32)).tocsr()
    for part in parts:
        one_way = sparse.csr_matrix(one_way + part)
    one_way.eliminate_zeros()
    return sparse.csr_matrix(one_way + one_way.T)
