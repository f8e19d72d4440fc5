"""One sample of a graph: hop by hop outward from its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from graph.pyg import HeteroSamplerOutput, SamplerOutput
from graph.sampling.incoming import Hidden, Incoming
from graph.schema import EdgeType

ALL = ""
ONLY: EdgeType = (ALL, "", ALL)
"""A homogeneous graph is one of a single relation."""

Tensors = dict[str, torch.Tensor]


class Walk:
    """One sample: hop by hop outward from its seeds."""

    def __init__(
        self,
        numbers: dict[str, Any],
        incoming: dict[EdgeType, Incoming],
        generator: torch.Generator,
        *,
        disjoint: bool,
    ) -> None:
        self._numbers, self._incoming, self._generator, self._disjoint = numbers, incoming, generator, disjoint
        self._time: torch.Tensor | None = None
        self._n_links: int | None = None
        self._hidden: dict[EdgeType, Hidden] = {}
        self._done: dict[str, int] = {}
        self._edges: dict[EdgeType, list[tuple[torch.Tensor, ...]]] = {edge_type: [] for edge_type in incoming}
        self._allowed: dict[EdgeType, list[torch.Tensor]] = {edge_type: [] for edge_type in incoming}
        self._n_new: dict[str, list[int]] = {}

    def start(
        self,
        seeds: Tensors,
        time: Tensors | torch.Tensor | None,
        hidden: dict[EdgeType, Hidden],
        n_links: int | None,
    ) -> None:
        """Begin at the seeds, whose trees are numbered through all types; a single time, [], is that of all."""
        self._hidden, self._n_links = hidden, n_links
        first = 0
        for kind, number in self._numbers.items():
            nodes = seeds.get(kind, torch.zeros(0, dtype=torch.int64))
            self._done[kind], self._n_new[kind] = 0, [len(nodes)]
            if kind not in seeds:
                number.start(nodes, nodes)
        for kind, nodes in seeds.items():
            self._numbers[kind].start(nodes, torch.arange(first, first + len(nodes)))
            first += len(nodes)
        if time is not None:
            self._time = time if isinstance(time, torch.Tensor) else torch.cat([time[kind] for kind in seeds])

    def step(self, fanouts: Mapping[EdgeType, int]) -> None:
        """One hop: draw edges into the nodes met last, then number the nodes at their other ends."""
        newest = {kind: slice(self._done[kind], len(number.node)) for kind, number in self._numbers.items()}
        met: dict[str, list[tuple[EdgeType, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]]] = {}
        for edge_type, k in fanouts.items():
            source, _, target = edge_type
            ends, here = self._numbers[target], newest[target]
            node, tree = ends.node[here], None if ends.tree is None else ends.tree[here]
            group = tree % self._n_links if tree is not None and self._n_links else None
            owner, found, edge, allowed = self._incoming[edge_type].draw(
                node,
                k,
                self._generator,
                before=self._time if self._time is None or tree is None else self._time[tree],
                hidden=self._hidden.get(edge_type),
                group=group,
            )
            self._allowed[edge_type].append(allowed)
            of_tree = None if tree is None else tree[owner]
            met.setdefault(source, []).append((edge_type, owner + here.start, found, edge, of_tree))
        for kind, number in self._numbers.items():
            self._done[kind] = len(number.node)
        for source, drawn in met.items():
            number = self._numbers[source]
            trees = torch.cat([one[4] for one in drawn if one[4] is not None]) if self._disjoint else None
            local = number.meet(torch.cat([one[2] for one in drawn]), trees)
            for (edge_type, column, _, edge, _), row in zip(
                drawn, local.split([len(one[2]) for one in drawn]), strict=True
            ):
                self._edges[edge_type].append((row, column, edge))
        for kind, number in self._numbers.items():
            self._n_new[kind].append(len(number.node) - self._done[kind])

    def allowed(self, edge_type: EdgeType) -> torch.Tensor:
        """How many edges of a relation each node that drew had to draw from, int64, in the order of the nodes."""
        return torch.cat(self._allowed[edge_type])

    def hetero(self) -> HeteroSamplerOutput:
        """As PyG wants it of a heterogeneous graph."""
        row, column, edge = ({t: self._joined(t, side) for t in self._edges} for side in range(3))
        return HeteroSamplerOutput(
            node={kind: number.node for kind, number in self._numbers.items()},
            row=row,
            col=column,
            edge=edge,
            batch={kind: number.tree for kind, number in self._numbers.items()} if self._disjoint else None,
            num_sampled_nodes=self._n_new,
            num_sampled_edges={t: [len(one[0]) for one in hops] for t, hops in self._edges.items()},
        )

    def homogeneous(self) -> SamplerOutput:
        """As PyG wants it of a homogeneous graph."""
        number = self._numbers[ALL]
        return SamplerOutput(
            node=number.node,
            row=self._joined(ONLY, 0),
            col=self._joined(ONLY, 1),
            edge=self._joined(ONLY, 2),
            batch=number.tree if self._disjoint else None,
            num_sampled_nodes=self._n_new[ALL],
            num_sampled_edges=[len(one[0]) for one in self._edges[ONLY]],
        )

    def _joined(self, edge_type: EdgeType, side: int) -> torch.Tensor:
        return torch.cat([torch.zeros(0, dtype=torch.int64), *(hop[side] for hop in self._edges[edge_type])])
