"""Our own sampler for PyTorch Geometric's `NodeLoader` and `LinkLoader`: homogeneous, heterogeneous, temporal.

    sampler = GraphSampler(graph.to_hetero(), [10, 5])
    for batch in LinkLoader(data, sampler, edge_label_index=(buys, pairs), neg_sampling="triplet", batch_size=1024): ...

PyG's own `NeighborLoader` needs compiled extensions; this is plain torch on whole batches. What it promises:

- up to k incoming edges of each node and relation a hop, uniformly and without replacement; all, if there are no more;
- never the edge that is to be predicted, in either direction (links);
- never an edge at or after the time of its seed (where edges have times), at any hop;
- the same draws under the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import get_worker_info

from graph.pyg import (
    BaseSampler,
    Data,
    EdgeSamplerInput,
    HeteroData,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
    edge_sample,
    node_sample,
)
from graph.sampling.incoming import Hidden, Incoming
from graph.sampling.numbering import PerTree, Shared
from graph.sampling.walk import ALL, ONLY, Tensors, Walk
from graph.schema import EdgeType, reverse

Fanouts = Sequence[int] | Mapping[EdgeType, Sequence[int]]


@dataclass(frozen=True, eq=False)
class _Targets:
    """Pairs that are to be predicted: `n` links of one relation."""

    edge_type: EdgeType
    source: torch.Tensor
    target: torch.Tensor


class GraphSampler(BaseSampler):  # type: ignore[misc]
    """Draws the neighborhoods of nodes or links.

    Args:
        data: the graph; edges lead from source to target, and neighbors are the sources of incoming edges.
        fanouts: edges a node and relation, one number a hop; -1 takes all, 0 none. One list for all relations, or one
            each; relations that are not named are not walked.
        time_attr: name of the edges' time, such as "time"; relations without it are timeless. Each seed then has a
            subgraph of its own. Seeds without a time see everything.
        disjoint: a subgraph of its own for each seed also without times.
        reverse_of: the relation that holds the same edges in the other direction; None says that there is none.
        seed: of the draws.

    Raises:
        ValueError: the lists differ in length, or a relation is unknown.
    """

    def __init__(
        self,
        data: Data | HeteroData,
        fanouts: Fanouts,
        *,
        time_attr: str | None = None,
        disjoint: bool = False,
        reverse_of: Callable[[EdgeType], EdgeType | None] = reverse,
        seed: int = 0,
    ) -> None:
        self._hetero = isinstance(data, HeteroData)
        stores = dict(data.edge_items()) if self._hetero else {ONLY: data}
        self._n_nodes: dict[str, int] = dict(data.num_nodes_dict) if self._hetero else {ALL: int(data.num_nodes)}
        listed = fanouts if isinstance(fanouts, Mapping) else dict.fromkeys(stores, fanouts)
        unknown = [edge_type for edge_type in listed if edge_type not in stores]
        if unknown:
            raise ValueError(f"fanouts must name relations of the graph, {unknown[0]} is none of {list(stores)}")
        if len({len(one) for one in listed.values()}) > 1:
            raise ValueError(f"fanouts must have one number a hop for every relation, got {dict(listed)}")
        self._fanouts = {edge_type: list(one) for edge_type, one in listed.items()}
        self._hops = max((len(one) for one in self._fanouts.values()), default=0)
        self._disjoint = disjoint or time_attr is not None
        self._reverse_of = reverse_of if self._hetero else _itself
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._worker_seed: int | None = None
        self._incoming = {
            edge_type: Incoming.of(
                stores[edge_type].edge_index,
                self._n_nodes[edge_type[0]],
                self._n_nodes[edge_type[2]],
                stores[edge_type][time_attr] if time_attr is not None and time_attr in stores[edge_type] else None,
            )
            for edge_type in self._fanouts
        }
        numbering = PerTree if self._disjoint else Shared
        self._numbers: dict[str, Any] = {kind: numbering(count) for kind, count in self._n_nodes.items()}

    @property
    def edge_permutation(self) -> None:
        """None: edges are named by their columns in the graph's own `edge_index`."""
        return

    def sample_from_nodes(self, index: NodeSamplerInput, **_: object) -> SamplerOutput | HeteroSamplerOutput:
        """The neighborhoods of nodes; called by `NodeLoader`."""
        return node_sample(index, self._sample)

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The neighborhoods of both ends of links, without the links; called by `LinkLoader`.

        Raises:
            ValueError: subgraphs are disjoint, and the number of negatives is no multiple of that of links.
        """
        if self._disjoint and neg_sampling is not None and neg_sampling.amount != int(neg_sampling.amount):
            raise ValueError(f"disjoint subgraphs need a whole number of negatives a link, got {neg_sampling.amount}")
        targets = _Targets(tuple(index.input_type or ONLY), index.row, index.col)
        n_nodes = self._n_nodes if self._hetero else self._n_nodes[ALL]
        draw = partial(self._sample, targets=targets)
        return edge_sample(index, draw, n_nodes, self._disjoint, None, neg_sampling)

    def _sample(
        self, seed: torch.Tensor | Tensors, seed_time: torch.Tensor | Tensors | None, targets: _Targets | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        seeds = seed if isinstance(seed, dict) else {ALL: seed}
        given = seed_time if isinstance(seed_time, dict) or seed_time is None else {ALL: seed_time}
        walk = Walk(self._numbers, self._incoming, self._rng(), disjoint=self._disjoint)
        walk.start(seeds, given, self._hide(targets), len(targets.source) if targets is not None else None)
        for hop in range(self._hops):
            walk.step({edge_type: one[hop] for edge_type, one in self._fanouts.items() if one[hop]})
        return walk.hetero() if self._hetero else walk.homogeneous()

    def _hide(self, targets: _Targets | None) -> dict[EdgeType, Hidden]:
        """The edges to be predicted, by relation; each only hidden from its own trees where there are such."""
        if targets is None:
            return {}
        group = torch.arange(len(targets.source)) if self._disjoint else None
        ends: dict[EdgeType, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        ends.setdefault(targets.edge_type, []).append((targets.source, targets.target))
        back = self._reverse_of(targets.edge_type)
        if back is not None:
            ends.setdefault(back, []).append((targets.target, targets.source))
        return {
            edge_type: self._incoming[edge_type].hide(
                torch.cat([source for source, _ in pairs]),
                torch.cat([target for _, target in pairs]),
                None if group is None else group.repeat(len(pairs)),
            )
            for edge_type, pairs in ends.items()
            if edge_type in self._incoming
        }

    def _rng(self) -> torch.Generator:
        """The generator; a worker process of a loader has one of its own."""
        worker = get_worker_info()
        if worker is not None and self._worker_seed != worker.seed:
            self._worker_seed = worker.seed
            self._generator.manual_seed((self._seed * 1_000_003 + worker.seed) % 2**63)
        return self._generator


def _itself(edge_type: EdgeType) -> EdgeType | None:
    return edge_type
