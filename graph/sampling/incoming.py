"""The edges of one relation by the node they lead to, with those of the past in front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

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


class Drawn(NamedTuple):
    """Edges drawn for some nodes.

    Args:
        owner: int64 [m]; which of the nodes, rising.
        source: int64 [m].
        edge: int64 [m]; column of the edge in the `edge_index` it came from.
        allowed: int64 [n]; how many edges each node had to draw from.
    """

    owner: torch.Tensor
    source: torch.Tensor
    edge: torch.Tensor
    allowed: torch.Tensor


@dataclass(frozen=True, eq=False)
class Incoming:
    """Edges as CSR by target; of one target, the oldest first, or in the order of their sources where none has a time.

    Args:
        start: int64 [n_dst + 1].
        source: int64 or int32 [n_edges].
        edge: int64 [n_edges]; column of the edge in the `edge_index` it came from. None where it stands in this order.
        time: of the edges, rising within a target; None where they have none.
        n_src: nodes of the source type.
    """

    start: torch.Tensor
    source: torch.Tensor
    edge: torch.Tensor | None
    time: torch.Tensor | None
    n_src: int

    @classmethod
    def of(cls, edge_index: torch.Tensor, n_src: int, n_dst: int, time: torch.Tensor | None = None) -> Incoming:
        """From int64 [2, n_edges] and, where edges have one, their time [n_edges]."""
        source, target = edge_index
        order = torch.argsort(source if time is None else time, stable=True)
        order = order[torch.argsort(target[order], stable=True)]
        start = torch.zeros(n_dst + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(target, minlength=n_dst), 0, out=start[1:])
        return cls(start, source[order], order, None if time is None else time[order], n_src)

    @classmethod
    def of_matrix(cls, csr: sparse.csr_matrix) -> Incoming:
        """The entries of a matrix, [target, source], in its own memory.

        Args:
            csr: [n_dst, n_src] with sorted indices.
        """
        return cls(
            torch.from_numpy(csr.indptr.astype(np.int64)), torch.from_numpy(csr.indices), None, None, csr.shape[1]
        )

    def degree(self, node: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        """Edges of each node, those strictly before a time where one is given: always the first ones of the node."""
        low, high = self.start[node], self.start[node + 1]
        if before is None or self.time is None:
            return high - low
        return first_not_below(self.time, low, high, before) - low

    def draw(
        self,
        node: torch.Tensor,
        k: int,
        generator: torch.Generator,
        *,
        before: torch.Tensor | None = None,
        hidden: Hidden | None = None,
        group: torch.Tensor | None = None,
    ) -> Drawn:
        """Up to k edges of each node, uniformly and without replacement.

        Args:
            node: int64 [n]; targets.
            k: edges a node; negative for all.
            generator: of the draws.
            before: [n], or [] for all alike; only edges strictly before this time. None for all.
            hidden: edges that may not be drawn.
            group: int64 [n]; group of each node in `hidden`. None for group 0.
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
        return Drawn(owner, self.source[place].long(), place if self.edge is None else self.edge[place], degree)

    def hide(self, source: torch.Tensor, target: torch.Tensor, group: torch.Tensor | None) -> Hidden:
        """All edges between given pairs, for `draw`.

        Args:
            source: int64 [n].
            target: int64 [n].
            group: int64 [n]; the groups that must not take them. None for group 0.
        """
        if self.time is None:
            low, high = self.start[target], self.start[target + 1]
            first = first_not_below(self.source, low, high, source)
            count = first_not_below(self.source, first, high, source + 1) - first
        else:
            ordered, order = self._pairs
            asked = target * self.n_src + source
            first = torch.searchsorted(ordered, asked)
            count = torch.searchsorted(ordered, asked, right=True) - first
        owner = torch.repeat_interleave(torch.arange(len(target)), count)
        rank = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
        place = first[owner] + rank
        position = (place if self.time is None else order[place]) - self.start[target[owner]]
        key = target[owner] if group is None else group[owner] * (len(self.start) - 1) + target[owner]
        both = torch.unique(torch.stack([key, position]), dim=1)  # sorted by key, then position
        return Hidden(both[0].contiguous(), both[1].contiguous())

    @cached_property
    def _pairs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys of all (target, source) pairs, rising, and the place of each."""
        target = torch.repeat_interleave(torch.arange(len(self.start) - 1), self.start.diff())
        ordered, order = torch.sort(target * self.n_src + self.source, stable=True)
        return ordered, order


def first_not_below(rising: torch.Tensor, low: torch.Tensor, high: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Binary searches side by side: the first place from `low` on, before `high`, that is not below what is wanted.

    Args:
        rising: [m]; rising from each `low` to its `high`.
        low: int64 [n].
        high: int64 [n].
        wanted: [n], or [] for all alike.

    Returns:
        int64 [n]; `high` where all are below.
    """
    low, high = low.clone(), high.clone()
    while bool((low < high).any()):
        middle = (low + high) // 2
        open_ = low < high
        below = rising[middle.clamp(max=len(rising) - 1)] < wanted
        low = torch.where(open_ & below, middle + 1, low)
        high = torch.where(open_ & ~below, middle, high)
    return low
