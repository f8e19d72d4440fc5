"""From nodes to edges and back: what an edge hears from a node, and what a node hears from all its edges.

Both are products with the incidence matrix S (S[e, n] = 1 where edge e ends in node n), and each is the gradient of the
other: `take` is S x, `collect` is S^T m. As CSR products they sum in one order, so results do not depend on threads or
device, and no scatter kernel beyond PyTorch is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from graph.csr import csr_tensor


class Incidence:
    """One end of each edge.

    Args:
        ends: int64 [n_edges]; the node at that end.
        n_nodes: number of nodes.
        device: where it lives.

    Raises:
        ValueError: an end is no node.
    """

    def __init__(self, ends: NDArray[np.int64], n_nodes: int, *, device: str = "cpu") -> None:
        outside = np.flatnonzero((ends < 0) | (ends >= n_nodes))
        if len(outside):
            raise ValueError(f"ends must be in [0, {n_nodes}), edge {outside[0]} has {ends[outside[0]]}")
        self.ends = torch.from_numpy(ends).to(device)
        self.n_nodes = n_nodes
        start = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n_nodes))])
        edges = (np.ones(len(ends), dtype=np.float32), np.argsort(ends, kind="stable"), start)
        self._edges_of = csr_tensor(sparse.csr_matrix(edges, shape=(n_nodes, len(ends))), torch.float32, device)

    def take(self, x: torch.Tensor) -> torch.Tensor:
        """The node's row for each edge: float32 [n_nodes, dim] to [n_edges, dim]."""
        taken: torch.Tensor = _Take.apply(x, self)  # type: ignore[no-untyped-call]
        return taken

    def collect(self, messages: torch.Tensor) -> torch.Tensor:
        """The sum over each node's edges: float32 [n_edges, dim] to [n_nodes, dim]; 0 for a node without edges."""
        collected: torch.Tensor = _Collect.apply(messages, self)  # type: ignore[no-untyped-call]
        return collected

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """Shares of the edges of each node: exp(logit) over the sum of the node's; they add up to 1.

        Args:
            logits: float32 [n_edges].

        Returns:
            float32 [n_edges].
        """
        highest = torch.full((self.n_nodes,), -torch.inf, device=logits.device)
        highest = highest.scatter_reduce(0, self.ends, logits.detach(), "amax")  # a constant: it cancels
        grown = (logits - highest[self.ends]).exp()[:, None]
        return (grown / self.take(self.collect(grown)))[:, 0]

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """S x without a gradient."""
        return x.index_select(0, self.ends)

    def sums(self, messages: torch.Tensor) -> torch.Tensor:
        """S^T m without a gradient."""
        return self._edges_of @ messages


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, incidence: Incidence) -> torch.Tensor:
        ctx.incidence = incidence
        return incidence.rows(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.incidence.sums(grad_outputs[0].contiguous()), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, messages: torch.Tensor, incidence: Incidence) -> torch.Tensor:
        ctx.incidence = incidence
        return incidence.sums(messages.contiguous())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.incidence.rows(grad_outputs[0]), None
