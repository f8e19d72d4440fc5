"""Local numbers for the nodes of a sampled subgraph, given in the order in which nodes are met."""

from __future__ import annotations

import torch

_FAR = torch.iinfo(torch.int64).max
_HALF = _FAR // 2


class Shared:
    """One number a node, whichever seed met it.

    A table with a place for every node of the type is kept between samples and wiped where it was written, so that a
    sample costs as much as it holds.

    Args:
        n_nodes: nodes of the type.
    """

    def __init__(self, n_nodes: int) -> None:
        self._number = torch.full((n_nodes,), _FAR)
        self.node = torch.zeros(0, dtype=torch.int64)
        self.tree: torch.Tensor | None = None

    def start(self, seeds: torch.Tensor, _: torch.Tensor | None) -> None:
        """Forget the last sample; the seeds are the first nodes, in their order."""
        self._number[self.node] = _FAR
        self.node = seeds
        self._number.scatter_reduce_(0, seeds, torch.arange(len(seeds)), "amin")

    def meet(self, node: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        """Numbers of nodes, new ones for those not met before."""
        fresh = node[self._number[node] == _FAR]
        turn = torch.arange(len(fresh)) + _HALF
        self._number.scatter_reduce_(0, fresh, turn, "amin")  # of equal nodes the first; the order of writes is free
        fresh = fresh[self._number[fresh] == turn]
        self._number[fresh] = torch.arange(len(fresh)) + len(self.node)
        self.node = torch.cat([self.node, fresh])
        return self._number[node]


class PerTree:
    """One number a node and tree: the subgraphs of different seeds share nothing.

    Args:
        n_nodes: nodes of the type.
    """

    def __init__(self, n_nodes: int) -> None:
        self._n = n_nodes
        self.node = torch.zeros(0, dtype=torch.int64)
        self.tree = torch.zeros(0, dtype=torch.int64)

    def start(self, seeds: torch.Tensor, tree: torch.Tensor) -> None:
        """Forget the last sample; the seeds are the first nodes, in their order."""
        self.node, self.tree = seeds, tree

    def meet(self, node: torch.Tensor, tree: torch.Tensor) -> torch.Tensor:
        """Numbers of nodes of trees, new ones for those not met before."""
        known = len(self.node)
        key = torch.cat([self.tree * self._n + self.node, tree * self._n + node])
        different, inverse = torch.unique(key, return_inverse=True)
        first = torch.full((len(different),), _FAR).scatter_reduce_(0, inverse, torch.arange(len(key)), "amin")
        fresh = torch.nonzero(first >= known).ravel()
        fresh = fresh[torch.argsort(first[fresh])]
        number = first.clone()
        number[fresh] = torch.arange(len(fresh)) + known
        self.node = torch.cat([self.node, different[fresh] % self._n])
        self.tree = torch.cat([self.tree, different[fresh] // self._n])
        return number[inverse[known:]]
