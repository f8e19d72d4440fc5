"""The edges of one relation by the node they lead to, with those of the past in front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from graph.sampling.draw import draw_positions


@dataclass(frozen=True, eq=False)
class Hidden:
    """Edges that some trees must not take.

    Args:
        key: int64 [n], rising; group x n_dst + target node.
        position: int64 [n]; the edge's place among those of its target, rising within a key.
    """

    key: torch.Tensor
    position: torch.Tensor


@dataclass(frozen=True, eq=False)
class Incoming:
    """Edges as CSR by target; of one target, the oldest first.

    Args:
        start: int64 [n_dst + 1].
        source: int64 [n_edges].
        edge: int64 [n_edges]; column of the edge in the `edge_index` it came from.
        time: of the edges, rising within a target; None where they have none.
        n_src: nodes of the source type.
    """

    start: torch.Tensor
    source: torch.Tensor
    edge: torch.Tensor
    time: torch.Tensor | None
    n_src: int

    @classmethod
    def of(cls, edge_index: torch.Tensor, n_src: int, n_dst: int, time: torch.Tensor | None = None) -> Incoming:
        """From int64 [2, n_edges] and, where edges have one, their time [n_edges]."""
        source, target = edge_index
        order = torch.arange(len(source)) if time is None else torch.argsort(time, stable=True)
        order = order[torch.argsort(target[order], stable=True)]
        start = torch.zeros(n_dst + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(target, minlength=n_dst), 0, out=start[1:])
        return cls(start, source[order], order, None if time is None else time[order], n_src)

    def degree(self, node: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        """Edges of each node, those strictly before a time where one is given: always the first ones of the node."""
        low, high = self.start[node], self.start[node + 1]
        if before is None or self.time is None:
            return high - low
        first = low.clone()
        while bool((low < high).any()):  # all nodes' binary searches at once
            middle = (low + high) // 2
            open_ = low < high
            past = self.time[middle.clamp(max=len(self.time) - 1)] < before
            low = torch.where(open_ & past, middle + 1, low)
            high = torch.where(open_ & ~past, middle, high)
        return low - first

    def draw(
        self,
        node: torch.Tensor,
        k: int,
        generator: torch.Generator,
        *,
        before: torch.Tensor | None = None,
        hidden: Hidden | None = None,
        group: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Up to k edges of each node, uniformly and without replacement.

        Args:
            node: int64 [n]; targets.
            k: edges a node; negative for all.
            generator: of the draws.
            before: [n]; only edges strictly before this time. None for all.
            hidden: edges that may not be drawn.
            group: int64 [n]; group of each node in `hidden`. None for group 0.

        Returns:
            owner int64 [m] (which of the n nodes), source int64 [m], edge int64 [m].
        """
        degree = self.degree(node, before)
        skips: list[tuple[torch.Tensor, torch.Tensor]] = []
        if hidden is not None and len(hidden.key):
            key = node if group is None else group * (len(self.start) - 1) + node
            first = torch.searchsorted(hidden.key, key)
            n_hidden = torch.searchsorted(hidden.key, key, right=True) - first
            whole = degree.clone()
            for rank in range(int(n_hidden.max()) if len(key) else 0):
                there = n_hidden > rank
                at = hidden.position[(first + rank).clamp(max=len(hidden.key) - 1)]
                there &= at < whole
                degree = degree - there.long()
                skips.append((there, at))
        owner, position = draw_positions(degree, k, generator)
        for there, at in skips:  # rising: each hidden edge at or before a position moves it on by one
            position = position + (there[owner] & (position >= at[owner])).long()
        place = self.start[node[owner]] + position
        return owner, self.source[place], self.edge[place]

    def hide(self, source: torch.Tensor, target: torch.Tensor, group: torch.Tensor | None) -> Hidden:
        """All edges between given pairs, for `draw`.

        Args:
            source: int64 [n].
            target: int64 [n].
            group: int64 [n]; the groups that must not take them. None for group 0.
        """
        ordered, order = self._pairs
        asked = target * self.n_src + source
        first = torch.searchsorted(ordered, asked)
        count = torch.searchsorted(ordered, asked, right=True) - first
        owner = torch.repeat_interleave(torch.arange(len(asked)), count)
        rank = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
        place = order[first[owner] + rank]
        position = place - self.start[target[owner]]
        key = target[owner] if group is None else group[owner] * (len(self.start) - 1) + target[owner]
        both = torch.unique(torch.stack([key, position]), dim=1)  # sorted by key, then position
        return Hidden(both[0].contiguous(), both[1].contiguous())

    @cached_property
    def _pairs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys of all (target, source) pairs, rising, and the place of each."""
        target = torch.repeat_interleave(torch.arange(len(self.start) - 1), self.start.diff())
        ordered, order = torch.sort(target * self.n_src + self.source, stable=True)
        return ordered, order
