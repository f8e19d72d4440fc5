"""Propagation over a sparse matrix that is not symmetric: its transpose, for the gradient, is made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy import sparse

from graph.csr import csr_tensor


@dataclass(frozen=True, eq=False)
class Directed:
    """A matrix that is not symmetric, beside its transpose, both in CSR form.

    Args:
        matrix: sparse CSR tensor [n, m].
        transposed: sparse CSR tensor [m, n].
    """

    matrix: torch.Tensor
    transposed: torch.Tensor

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, *, device: str = "cpu") -> Directed:
        """From a scipy matrix."""
        csr = sparse.csr_matrix(matrix)
        csr.sum_duplicates()
        return cls(csr_tensor(csr, torch.float32, device), csr_tensor(sparse.csr_matrix(csr.T), torch.float32, device))


class _DirectedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, directed: Directed) -> torch.Tensor:
        ctx.directed = directed
        return directed.matrix @ x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.directed.transposed @ grad_outputs[0].contiguous(), None


def propagate_directed(directed: Directed, x: torch.Tensor) -> torch.Tensor:
    """A x, differentiable in x.

    Args:
        directed: [n, m].
        x: float32 [m, dim] on the same device.

    Returns:
        float32 [n, dim].
    """
    product: torch.Tensor = _DirectedProduct.apply(x, directed)  # type: ignore[no-untyped-call]
    return product
