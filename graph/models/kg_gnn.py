"""The GNN: item content and learned node embeddings, propagated linearly over the whole knowledge graph.

With x(0) the embeddings of all nodes (`graph/models/start.py`), A_b and A_k the normalized behavior and knowledge
matrices (`graph/joint.py`),

    x(l+1) = (A_b + A_k) x(l)        z = mean of x(0) ... x(L)

which is LightGCN (He et al. 2020) over typed relations and content. A user and an item are as close as their z's
directions, and each item has a prior for being liked by anyone at all:

    score(u, i) = cos(z_u, z_i) + t prior_i        t: the temperature of the softmax it is trained with

Without the prior, popularity would have to be spelled by directions, which sparse shops cannot afford.

An item or user without training events has no id embedding: it is placed by its content, its attribute values and its
look-alikes alone, and all such items share one prior, the newcomers'. To learn that, a training step may hide items: a
hidden item loses its id embedding, its prior and its behavior edges for that step, as if it were new (DropoutNet,
Volkovs et al. 2017, carried over to the graph).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import nn
from torch.nn.functional import normalize

from features.errors import InputError
from features.interactions import Interactions
from features.section import Section
from graph.blocks import Blocks, spread
from graph.csr import Adjacency
from graph.joint import join
from graph.knowledge_graph import KnowledgeGraph
from graph.models.start import NodeModel
from graph.sampling.neighborhood import Neighborhood, Neighborhoods, Step
from graph.sampling.temporal import timed_behavior
from graph.schema import is_item_attribute


class GNNConfig(Section):
    """Shape of the GNN."""

    dim: PositiveInt = 128
    """Length of an embedding."""
    layers: PositiveInt = 2
    """Steps of propagation; two reach from an item over its users to their other items."""
    item_facts: NonNegativeFloat = 0.5
    """Weight of messages between items and their attribute values, against 1 for behavior."""
    user_facts: NonNegativeFloat = 0.1
    """Weight of messages between users and their attribute values."""
    look_alikes: NonNegativeFloat = 0.5
    """Weight of messages between items of similar content."""
    together: NonNegativeFloat = 0.5
    """Weight of messages between items that the same users met, and users who met the same items."""
    links: NonNegativeFloat = 0.5
    """Weight of messages along all else: steps of a path, words of reviews, facts from outside."""
    beside: float = 0.5
    """Weight of messages between users and items by other behavior, such as views beside purchases; below 0 it is held
    against them."""
    image_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the picture in an item's content, before the match score gates it."""
    start: float = Field(default=0.1, gt=0)
    """Standard deviation of the embeddings before training."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of messages while they are propagated; bfloat16 moves half the memory, and needs CUDA. Parameters are float32."""
    item_prior: bool = True
    """Whether each item has a prior for being liked by anyone; dense shops may do better without, where directions can
    afford to spell popularity and then spell it differently for each user."""


class KGGNN(NodeModel):
    """Embeddings of users and items from the knowledge graph.

    Args:
        graph: training edges only.
        content: float32 [n_items, d_content]; rows of length 1, or 0 where nothing is known.
        config: shape of the model.
        seed: of the starting embeddings.
        device: where the model lives, such as "cuda"; it does not move afterwards.
        fanouts: edges drawn of each node, a number a layer, where it is to be trained by `near`: the graph then stays
            in the host's memory, and `forward` goes over it block by block, without gradients. Empty for the whole.
        past: the events the graph was built of, each with its time, where `near` shall see those before a moment alone.

    Raises:
        ValueError: the content has not a row an item.
        InputError: bfloat16 without CUDA, or with fan-outs.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        content: NDArray[np.float32],
        config: GNNConfig,
        *,
        seed: int,
        device: str = "cpu",
        fanouts: Sequence[int] = (),
        past: Interactions | None = None,
    ) -> None:
        joint = join(
            graph,
            item_facts=config.item_facts,
            user_facts=config.user_facts,
            look_alikes=config.look_alikes,
            together=config.together,
            links=config.links,
            beside=config.beside,
        )
        super().__init__(joint, content, dim=config.dim, scale=config.start, rng=np.random.default_rng(seed))
        self.config = config
        n_values = sum(count for kind, count in graph.n_nodes.items() if is_item_attribute(kind))
        self._values = slice(self._items.stop, self._items.stop + n_values)  # types stand in the order of their names
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.precision]
        self._behavior: Adjacency | Blocks
        self._knowledge: Adjacency | Blocks
        if fanouts:
            if dtype != torch.float32:
                raise InputError("drawn neighborhoods are propagated over in float32, model.precision is 'bfloat16'")
            self._behavior, self._knowledge = (Blocks(one, device=device) for one in (joint.behavior, joint.knowledge))
            relations = {"behavior": joint.behavior, "knowledge": joint.knowledge}
            asked = {name: one for name, one in relations.items() if one.nnz or name == "behavior"}
            times = {}
            if past is not None:
                asked["behavior"], times["behavior"] = timed_behavior(graph, past, joint)
            self.neighborhoods = Neighborhoods(asked, fanouts, times=times)
        else:
            self._behavior = Adjacency.of(joint.behavior, dtype=dtype, device=device)
            self._knowledge = Adjacency.of(joint.knowledge, dtype=dtype, device=device)
        popularity = np.log1p(joint.met[self._items]).astype(np.float32)
        popularity -= popularity.mean()
        self.prior = nn.Parameter(torch.from_numpy(popularity * np.float32(config.item_prior)))
        self.newcomer_prior = nn.Parameter(torch.zeros(()))
        for name, reach in (("_fact_reach", joint.fact_reach), ("_alike_reach", joint.alike_reach)):
            self.register_buffer(name, torch.from_numpy(reach)[:, None], persistent=False)
        self._fact_reach: torch.Tensor
        self._alike_reach: torch.Tensor
        self.to(device)

    @property
    def newcomers(self) -> torch.Tensor:
        """Items without training events, bool [n_items]."""
        return self._met[self._items, 0] == 0

    def forward(
        self, hidden: torch.Tensor | None = None, content_gain: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Propagate once over the whole graph.

        Args:
            hidden: bool [n_items]; items to treat as new in this pass. None hides none.
            content_gain: float32 [d_content]; factor on each content dimension, to drop some out. None keeps all.

        Returns:
            users float32 [n_users, dim] and items float32 [n_items, dim], each row of length 1, or 0 where nothing is
            known; priors float32 [n_items].
        """
        seen = self._seen(hidden)
        z = torch.stack(self._layers(seen, self._projected(content_gain))).mean(0)
        return normalize(z[self._users]), normalize(z[self._items]), self._priors(seen)

    def near(
        self,
        drawn: Neighborhood,
        n_users: int,
        items: torch.Tensor,
        hidden: torch.Tensor | None = None,
        content_gain: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same for some users and items, from what was drawn for their rows (see `rows`), users first.

        Args:
            drawn: by `neighborhoods`.
            n_users: how many of the rows are users'.
            items: int64 [n]; the items of the other rows.
            hidden: as for `forward`.
            content_gain: as for `forward`.
        """
        seen = self._seen(hidden)
        of_node = seen[drawn.node]
        item = torch.nonzero((drawn.node >= self._items.start) & (drawn.node < self._items.stop)).ravel()
        content = self._content[drawn.node[item] - self._items.start] @ self._projected(content_gain)
        x = (self.node.index_select(0, drawn.node) * of_node).index_add(0, item, content)

        def step(relations: dict[str, Step], x: torch.Tensor) -> torch.Tensor:
            heard = relations["behavior"](of_node[: len(x)] * x)
            heard = of_node[: len(heard)] * heard
            return heard + relations["knowledge"](x) if "knowledge" in relations else heard

        z = normalize(drawn.mean_of_layers(x, step))
        return z[:n_users], z[n_users:], self._priors(seen)[items]

    def rows(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> torch.Tensor:
        """Rows of users, then items, in the numbering of all nodes, int64 [n]."""
        return torch.from_numpy(np.concatenate([self._users.start + users, self._items.start + items]))

    def _seen(self, hidden: torch.Tensor | None) -> torch.Tensor:
        """1 for nodes with an embedding of their own and behavior, else 0: float32 [n_nodes, 1]."""
        if hidden is None:
            return self._met
        seen = self._met.clone()
        seen[self._items] = seen[self._items] * ~hidden[:, None]
        return seen

    def _projected(self, content_gain: torch.Tensor | None) -> torch.Tensor:
        return self.projection if content_gain is None else self.projection * content_gain[:, None]

    def _priors(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.where(seen[self._items, 0] > 0, self.prior, self.newcomer_prior) * float(self.config.item_prior)

    def _layers(self, seen: torch.Tensor, projection: torch.Tensor) -> list[torch.Tensor]:
        """x(0) ... x(L), each [n_nodes, dim]."""
        x = self.start(seen, projection)
        layers = [x]
        for _ in range(self.config.layers):
            heard = seen * spread(self._behavior, seen * x)
            x = heard + spread(self._knowledge, x) if self._knowledge.n_entries else heard
            layers.append(x)
        return layers

    @torch.no_grad()
    def messages(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What an item that joins the graph later would hear from the nodes it is tied to.

        Such an item has z = (W content + sum over its edges of A_k[edge] (x(0) + ... + x(L-1))[other end]) / (L + 1),
        as if the others did not hear from it in turn.

        Returns:
            From attribute values, float32 [n_values, dim] in the order of `KnowledgeGraph.item_values`, and from items,
            float32 [n_items, dim]; each already times the reach of its node (`JointGraph`).
        """
        said = torch.stack(self._layers(self._met, self.projection)[:-1]).sum(0)
        return (said * self._fact_reach)[self._values], (said * self._alike_reach)[self._items]
