"""All relations of a knowledge graph as two symmetric matrices over one numbering of the nodes.

Behavior (users with items, and who met the same) stands apart from knowledge (attribute values, look-alikes and other
facts), because an item that nobody has met yet takes part in the second alone. Each block is normalized by itself, so
that an item's embedding is a sum of what its users, its attribute values and its look-alikes say, each with its own
weight, and the lack of one leaves the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graph.csr import inverse_root, normalized
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import ALIKE, BESIDE, HAS, ITEM, USER, EdgeType, is_behavior, is_company, is_item_attribute

Slices = dict[str, slice]


@dataclass(frozen=True, eq=False)
class JointGraph:
    """Node rows by type, and who passes messages to whom.

    Args:
        rows: rows of each node type in the joint numbering; users first, then items.
        behavior: float32 [n, n], symmetric; users with items, by what is to be predicted and by what they did besides,
            items and users with those that met the same.
        knowledge: float32 [n, n], symmetric; owners with attribute values, items with look-alikes, and other facts.
        met: int64 [n]; items that a user met, users that met an item, by what is to be predicted; 0 for other nodes.
        fact_reach: float32 [n]; what an item's edge to a value would carry if it were the item's only one: the block's
            weight x the value's weight / sqrt(number of the value's edges), 0 where a node has none.
        alike_reach: float32 [n]; what an edge of weight 1 to a look-alike would carry: the block's weight /
            sqrt(total weight of the look-alike's edges).
    """

    rows: Slices
    behavior: sparse.csr_matrix
    knowledge: sparse.csr_matrix
    met: NDArray[np.int64]
    fact_reach: NDArray[np.float32]
    alike_reach: NDArray[np.float32]

    @property
    def n_nodes(self) -> int:
        """Nodes of all types together."""
        return int(self.behavior.shape[0])


def join(
    graph: KnowledgeGraph,
    *,
    item_facts: float,
    user_facts: float,
    look_alikes: float,
    together: float = 0.5,
    links: float = 0.5,
    beside: float = 0.0,
) -> JointGraph:
    """Number the nodes through and normalize each block.

    Attribute values are normalized by the number of edges and not by their weights, so that a value that weighs more
    than others (`GraphConfig.idf`) is heard louder even where it is an item's only one.

    Args:
        graph: a validated knowledge graph.
        item_facts: weight of the items' attribute values against behavior, which has weight 1.
        user_facts: weight of the users' attribute values.
        look_alikes: weight of the content neighbors.
        together: weight of items and users that met the same.
        links: weight of all else: steps of a path, words of reviews, facts from outside.
        beside: weight of behavior beside what is to be predicted; below 0 an end is held against the other.
    """
    others = sorted(set(graph.n_nodes) - {USER, ITEM}, key=lambda kind: (not is_item_attribute(kind), kind))
    kinds = [USER, ITEM, *others]
    ends = np.cumsum([0, *(graph.n_nodes[kind] for kind in kinds)])
    rows = {kind: slice(int(start), int(end)) for kind, (start, end) in zip(kinds, pairwise(ends), strict=True)}
    n = int(ends[-1])
    weights = {
        "behavior": 1.0,
        "beside": beside,
        "together": together,
        "item_facts": item_facts,
        "user_facts": user_facts,
        "look_alikes": look_alikes,
        "links": links,
    }
    blocks: dict[str, list[sparse.csr_matrix]] = {name: [] for name in weights}
    for edge_type, listed in graph.forward.items():
        source, _, target = edge_type
        blocks[_block(edge_type)].append(
            sparse.csr_matrix(
                (listed.weight, (listed.src + rows[source].start, listed.dst + rows[target].start)), shape=(n, n)
            )
        )
    whole = {name: _symmetric(parts, n) for name, parts in blocks.items()}
    by_count = ("item_facts", "user_facts")
    ready = {name: weights[name] * normalized(block, by_count=name in by_count) for name, block in whole.items()}
    facts = whole["item_facts"]
    n_facts = np.diff(facts.indptr)
    mean_weight = np.asarray(facts.sum(axis=1), dtype=np.float64).ravel() / np.maximum(n_facts, 1)
    return JointGraph(
        rows,
        _stacked([ready["behavior"], ready["together"], ready["beside"]]),
        _stacked([ready["item_facts"], ready["user_facts"], ready["look_alikes"], ready["links"]]),
        met=np.diff(whole["behavior"].indptr).astype(np.int64),
        fact_reach=np.float32(item_facts) * (mean_weight * inverse_root(n_facts)).astype(np.float32),
        alike_reach=np.float32(look_alikes) * inverse_root(whole["look_alikes"].sum(axis=1)).astype(np.float32),
    )


def _block(edge_type: EdgeType) -> str:
    source, relation, _ = edge_type
    if is_behavior(edge_type):
        return "behavior"
    if is_company(edge_type):
        return "together"
    if relation.startswith(BESIDE):
        return "beside"
    if relation == HAS:
        return "item_facts" if source == ITEM else "user_facts"
    return "look_alikes" if relation.startswith(ALIKE) else "links"


def _stacked(blocks: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    """The sum of the blocks that have entries."""
    first, *others = [block for block in blocks if block.nnz] or blocks[:1]
    for block in others:
        first = sparse.csr_matrix(first + block)
    first.eliminate_zeros()
    return first


def _symmetric(parts: list[sparse.csr_matrix], n: int) -> sparse.csr_matrix:
    """The sum of one-way blocks, made two-way."""
    one_way = sparse.diags(np.zeros(n, dtype=np.float32)).tocsr()
    for part in parts:
        one_way = sparse.csr_matrix(one_way + part)
    one_way.eliminate_zeros()
    return sparse.csr_matrix(one_way + one_way.T)
