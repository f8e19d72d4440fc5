"""Relational attention: nodes listen to their neighbors by relation, and users to items by what they care about.

With x0 as in `graph/models/start.py` (learned embeddings, and the items' content), v_r the vector of relation r (a
relation and its reverse have one each), and N(h) the edges (r, t, w) into node h, w the edge's weight:

    a(h,r,t) = softmax over N(h) of  b_r + g <x0_h * v_r, x0_t> / dim + log w       * is element by element
    K x [h]  = sum over N(h) of  a(h,r,t) v_r * x_t

Attention over typed neighbors is KGAT's (Wang et al. 2019), here with DistMult's product (Yang et al. 2015) in place of
a matrix a relation; messages stamped by their relation, and users' intents, are KGIN's (Wang et al. 2021): intent p is
a mixture v_p = sum_r softmax(m_p)_r v_r of relations, and user u cares for them by

    c_u      = sum_p softmax_p(<x0_u, v_p>) v_p

    x(l+1)[u] = c_u * (A_b x(l))[u] + k (K x(l))[u]
    x(l+1)[i] =       (A_b x(l))[i] + k (K x(l))[i]         i: every other node
    z         = mean of x(0) ... x(L)                       score(u, i) = <z_u, z_i> + bias_i

with A_b the behavior of `graph/joint.py`. All relation vectors start at 1 and all attention is even, so that training
starts from plain propagation. Full-graph, and linear in the number of edges.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import nn

from features.section import Section
from graph.csr import Adjacency, propagate
from graph.incidence import Incidence
from graph.joint import Slices, join
from graph.knowledge_graph import KnowledgeGraph
from graph.models.start import NodeModel
from graph.schema import EdgeType, is_behavior, is_company, is_reverse, reverse


class RelationalConfig(Section):
    """Shape of the relational attention model."""

    dim: PositiveInt = 64
    """Length of an embedding."""
    layers: PositiveInt = 2
    """Steps of propagation."""
    intents: PositiveInt = 4
    """Mixtures of relations that users may care about."""
    knowledge: NonNegativeFloat = 0.5
    """Weight k of what a node hears over facts, against 1 for behavior."""
    together: NonNegativeFloat = 0.5
    """Weight of messages between items that the same users met, and users who met the same items."""
    image_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the picture in an item's content, before the match score gates it."""
    start: float = Field(default=0.1, gt=0)
    """Standard deviation of the embeddings before training."""


class RelationalAttention(NodeModel):
    """Embeddings of users and items from the knowledge graph, by attention.

    Args:
        graph: training edges only.
        content: float32 [n_items, d_content]; rows of length 1, or 0 where nothing is known; d_content may be 0.
        config: shape of the model.
        seed: of the starting embeddings.
        device: where the model lives, such as "cuda"; it does not move afterwards.

    Raises:
        ValueError: the content has not a row an item.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        content: NDArray[np.float32],
        config: RelationalConfig,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        joint = join(graph, item_facts=1.0, user_facts=1.0, look_alikes=1.0, together=config.together, links=1.0)
        rng = np.random.default_rng(seed)
        super().__init__(joint, content, dim=config.dim, scale=config.start, rng=rng)
        self.config = config
        self._behavior = Adjacency.of(joint.behavior, device=device)
        self.relations, head, relation, tail, weight = _typed_edges(graph, joint.rows)
        self._head = Incidence(head, joint.n_nodes, device=device)
        self._tail = Incidence(tail, joint.n_nodes, device=device)
        self._relation = Incidence(relation, len(self.relations), device=device)
        self.turn = nn.Parameter(torch.zeros(len(self.relations), config.dim))
        self.relation_bias = nn.Parameter(torch.zeros(len(self.relations), 1))
        self.sharpness = nn.Parameter(torch.ones(()) / config.start**2)
        drawn = rng.standard_normal((config.intents, len(self.relations)), dtype=np.float32)
        self.mixture = nn.Parameter(torch.from_numpy(drawn))
        self.bias = nn.Parameter(torch.zeros(len(content)))
        self.register_buffer("_log_weight", torch.from_numpy(np.log(weight)), persistent=False)
        self._log_weight: torch.Tensor
        self.to(device)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Propagate once over the whole graph.

        Returns:
            z of the users, float32 [n_users, dim], and of the items, float32 [n_items, dim]; a row is 0 where nothing
            is known.
        """
        x = self._first()
        share, cares = self._attend(x)[:, None], self._cares(x[self._users])
        gate = torch.cat([cares, torch.ones_like(x[self._users.stop :])])  # users stand first
        stamp = share * self._relation.take(self.relation)
        layers = [x]
        for _ in range(self.config.layers):
            heard = self._head.collect(stamp * self._tail.take(x))
            x = gate * propagate(self._behavior, x) + self.config.knowledge * heard
            layers.append(x)
        z = torch.stack(layers).mean(0)
        return z[self._users], z[self._items]

    @property
    def relation(self) -> torch.Tensor:
        """v, float32 [n_relations, dim]: 1 and what was learned, so that weight decay leads to plain propagation."""
        return 1 + self.turn

    def own(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The learned embeddings of some users and items before propagation, float32 [n, dim]."""
        return self.node[torch.cat([self._users.start + users, self._items.start + items])]

    @torch.no_grad()
    def attention(self) -> torch.Tensor:
        """a(h,r,t) of each edge, float32 [n_edges], in the order of `edges`."""
        return self._attend(self._first())

    def edges(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Heads, relations and tails, int64 [n_edges] each; nodes in the numbering of `graph/joint.py`."""
        return self._head.ends, self._relation.ends, self._tail.ends

    def _first(self) -> torch.Tensor:
        return self.start(self._met, self.projection)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        asked = self._head.take(x) * self._relation.take(self.relation)
        likeness = (asked * self._tail.take(x)).mean(dim=1)
        bias = self._relation.take(self.relation_bias)[:, 0]
        return self._head.softmax(bias + self.sharpness * likeness + self._log_weight)

    def _cares(self, users: torch.Tensor) -> torch.Tensor:
        if not self.relations:
            return torch.ones_like(users)
        intents = self.mixture.softmax(dim=1) @ self.relation
        return (users @ intents.T).softmax(dim=1) @ intents


def _typed_edges(
    graph: KnowledgeGraph, rows: Slices
) -> tuple[list[EdgeType], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The relations that are no behavior, and all their edges: who hears, over which relation, whom, how loud.

    Edges of a triple (source, relation, target) run from source to target, so the target hears the source.
    """
    kinds = [
        edge_type
        for edge_type in graph.edges
        if not any(is_behavior(one) or is_company(one) for one in (edge_type, _forward(edge_type)))
    ]
    listed = [graph.edges[edge_type] for edge_type in kinds]
    whole = np.int64
    empty = np.zeros(0, dtype=whole)
    ends = list(zip(kinds, listed, strict=True))
    head = np.concatenate([empty, *(edges.dst + rows[kind[2]].start for kind, edges in ends)]).astype(whole)
    tail = np.concatenate([empty, *(edges.src + rows[kind[0]].start for kind, edges in ends)]).astype(whole)
    relation = np.repeat(np.arange(len(kinds), dtype=whole), [len(edges) for edges in listed])
    weight = np.concatenate([np.zeros(0, dtype=np.float32), *(edges.weight for edges in listed)])
    return kinds, head, relation, tail, weight.astype(np.float32)


def _forward(edge_type: EdgeType) -> EdgeType:
    return reverse(edge_type) if is_reverse(edge_type) else edge_type
