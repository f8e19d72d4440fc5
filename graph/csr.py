"""Propagation over a symmetric sparse matrix, several times faster than message passing over an edge list.

For y = A x the gradient is dL/dx = A^T dL/dy, and a symmetric A needs no transpose: forward and backward are the same
CSR product. (PyTorch's own backward builds the transpose anew at every step.)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph

from features.errors import InputError


@dataclass(frozen=True, eq=False)
class Adjacency:
    """A symmetric matrix in CSR form.

    Args:
        matrix: sparse CSR tensor [n_nodes, n_nodes].
    """

    matrix: torch.Tensor
    _spare: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, symmetric: sparse.csr_matrix, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Adjacency:
        """From a scipy matrix.

        Raises:
            ValueError: the matrix is not square or not symmetric.
            InputError: bfloat16 on a CPU, where PyTorch has no product of such a matrix.
        """
        if dtype == torch.bfloat16 and not device.startswith("cuda"):
            raise InputError(f"propagation in bfloat16 needs CUDA, the device is {device!r}; choose float32")
        csr = sparse.csr_matrix(symmetric)
        csr.sum_duplicates()
        if csr.shape[0] != csr.shape[1]:
            raise ValueError(f"adjacency must be square, got {csr.shape}")
        off = abs(csr - csr.T)
        if off.nnz and off.max() > 1e-6 * max(1.0, abs(csr).max()):
            row, column = (int(part[0]) for part in np.nonzero(off == off.max()))
            raise ValueError(
                f"adjacency must be symmetric, [{row}, {column}] is {csr[row, column]} "
                f"and [{column}, {row}] is {csr[column, row]}"
            )
        return cls(csr_tensor(csr, dtype, device))

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def n_entries(self) -> int:
        """Stored entries; an undirected edge is two."""
        return int(self.matrix.values().shape[0])

    @cached_property
    def with_self(self) -> torch.Tensor:
        """I + A, in CSR form."""
        there = self.matrix
        csr = sparse.csr_matrix(
            (there.values().cpu().numpy(), there.col_indices().cpu().numpy(), there.crow_indices().cpu().numpy()),
            shape=(len(self), len(self)),
        )
        added = csr + sparse.identity(len(self), dtype=csr.dtype, format="csr")
        return Adjacency.of(added, dtype=there.dtype, device=str(there.device)).matrix

    def spare(self, like: torch.Tensor, name: str) -> torch.Tensor:
        """Memory that is used again: what stands in it lasts until somebody asks for the same name.

        Args:
            like: of the shape, dtype and device that are wanted.
            name: of the use.
        """
        held = self._spare.get(name)
        if held is None or held.shape != like.shape or held.dtype != like.dtype or held.device != like.device:
            held = self._spare[name] = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        return held


def csr_tensor(csr: sparse.csr_matrix, dtype: torch.dtype, device: str) -> torch.Tensor:
    """A scipy matrix as sparse CSR tensor, with 32-bit indices where they suffice."""
    index = np.int32 if max(csr.nnz, *csr.shape) < np.iinfo(np.int32).max else np.int64
    there = sparse_csr(
        torch.from_numpy(csr.indptr.astype(index)),
        _as_tensor(csr.indices.astype(index)),
        _as_tensor(csr.data).to(dtype),
        csr.shape,
        check=True,
    )
    return there.to(device)  # checked before: on CUDA the check refuses a matrix without entries


def sparse_csr(
    start: torch.Tensor, column: torch.Tensor, value: torch.Tensor, size: tuple[int, int], *, check: bool = False
) -> torch.Tensor:
    """A sparse CSR tensor in the memory of its parts, without PyTorch's warnings.

    Args:
        start: int [n_rows + 1].
        column: int [n_entries], of the same dtype.
        value: float [n_entries].
        size: rows and columns.
        check: whether the parts are made sure to fit each other.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled")
        return torch.sparse_csr_tensor(start, column, value, size=size, check_invariants=check)


def _as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """The same memory, but for an array of nothing, whose strides of 0 (NumPy 2.5) PyTorch 2.11 refuses."""
    flat = torch.from_numpy(array)
    return flat if len(array) else torch.empty(0, dtype=flat.dtype)


class _SymmetricProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        ctx.matrix = matrix
        return _product(matrix, x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _product(ctx.matrix, grad_outputs[0].contiguous()), None


def _product(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (matrix @ x.to(matrix.dtype)).to(x.dtype)


def propagate(adjacency: Adjacency, x: torch.Tensor) -> torch.Tensor:
    """A x, differentiable in x; computed in the adjacency's dtype and given in x's, and so is the gradient.

    Args:
        adjacency: symmetric [n_nodes, n_nodes].
        x: float [n_nodes, dim], contiguous, on the adjacency's device.

    Returns:
        float [n_nodes, dim].
    """
    product: torch.Tensor = _SymmetricProduct.apply(x, adjacency.matrix)  # type: ignore[no-untyped-call]
    return product


class _SymmetricMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, adjacency: Adjacency, layers: int, rows: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.adjacency, ctx.layers, ctx.rows = adjacency, layers, rows
        if rows is None:
            return _mean_of_powers(adjacency, x, layers, torch.empty_like(x))
        mean = _mean_of_powers(adjacency, x, layers, adjacency.spare(x, "result"))
        return mean[rows]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        given = grad_outputs[0].contiguous()
        adjacency: Adjacency = ctx.adjacency
        if ctx.rows is not None:
            spread = adjacency.spare(given.new_empty((1, given.shape[1])).expand(len(adjacency), -1), "gradient")
            given = spread.zero_().index_add_(0, ctx.rows, given)
        return _mean_of_powers(adjacency, given, ctx.layers, torch.empty_like(given)), None, None, None


def _mean_of_powers(adjacency: Adjacency, x: torch.Tensor, layers: int, out: torch.Tensor) -> torch.Tensor:
    """By Horner's rule in A^2, which takes the fewest sums.

    With p_L the sum of the powers 0 to L,

        p_L = I + A p_(L-1) for even L,      p_L = (I + A)(I + A^2 (I + A^2 (...))) for odd L

    A product and a sum are one call, which copies what is to be added first; that copy costs a third of the product.
    """
    if layers == 0:
        return out.copy_(x)
    buffers = [adjacency.spare(x, "even"), adjacency.spare(x, "odd")]
    share = 1 / (layers + 1)
    y = x
    for _ in range((layers - 1) // 2):
        once = _into(buffers[0], adjacency.matrix, y)
        y = torch.addmm(x, adjacency.matrix, once, out=buffers[1])
    if layers % 2:
        return _into(out, adjacency.with_self, y).mul_(share)
    y = _into(buffers[0], adjacency.with_self, y)
    return torch.addmm(x, adjacency.matrix, y, beta=share, alpha=share, out=out)


def _into(out: torch.Tensor, matrix: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The product, written over whatever stands in `out`; `torch.mm(..., out=...)` would clear it first."""
    return out.addmm_(matrix, y, beta=0)


def mean_of_layers(
    adjacency: Adjacency, x: torch.Tensor, layers: int, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean of x, A x, ..., A^L x, differentiable in x: LightGCN (He et al. 2020) over a symmetric A.

    The gradient is the same polynomial of A, so nothing of the forward pass is kept for it. What is needed in between
    lies in buffers of the adjacency that are used again and again: fresh memory costs a training step on a CPU as much
    as its arithmetic. One thread may use an adjacency at a time.

    Args:
        adjacency: symmetric [n_nodes, n_nodes].
        x: float [n_nodes, dim] of the adjacency's dtype and device, contiguous.
        layers: L.
        rows: int64 [n]; the rows that are wanted, such as those of a batch, in any order and number. None for all.

    Returns:
        float [n_nodes, dim], or [n, dim].
    """
    mean: torch.Tensor = _SymmetricMean.apply(x, adjacency, layers, rows)  # type: ignore[no-untyped-call]
    return mean


def close_order(symmetric: sparse.csr_matrix) -> NDArray[np.int64]:
    """An order of the nodes in which neighbors stand close to each other (reverse Cuthill and McKee 1969).

    A product then finds more of the rows it needs in the processor's cache. With `order` the result,
    `symmetric[order][:, order]` is the matrix to propagate over, and row i of its embeddings is node `order[i]`.

    Args:
        symmetric: [n_nodes, n_nodes].

    Returns:
        int64 [n_nodes]; each node once.
    """
    order = csgraph.reverse_cuthill_mckee(sparse.csr_matrix(symmetric), symmetric_mode=True)
    return np.asarray(order, dtype=np.int64)


def normalized(block: sparse.csr_matrix, *, by_count: bool = False) -> sparse.csr_matrix:
    """D_r^{-1/2} B D_c^{-1/2}: an edge counts less, the more edges its two ends have (Kipf & Welling 2017).

    Args:
        block: non-negative weights [n_rows, n_columns] between two kinds of nodes.
        by_count: take as degree the number of a node's edges, not the sum of their weights.

    Returns:
        float32 [n_rows, n_columns]; rows and columns without edges stay empty.
    """
    csr = sparse.csr_matrix(block).astype(np.float64)
    counted = csr.astype(bool).astype(np.float64) if by_count else csr
    scaled = sparse.diags(inverse_root(counted.sum(axis=1))) @ csr
    scaled = scaled @ sparse.diags(inverse_root(counted.sum(axis=0)))
    return sparse.csr_matrix(scaled).astype(np.float32)


def inverse_root(degree: ArrayLike) -> NDArray[np.float64]:
    """1 / sqrt(degree), and 0 where the degree is 0; one row of numbers, whatever the shape given."""
    flat = np.asarray(degree, dtype=np.float64).ravel()
    return np.divide(1.0, np.sqrt(flat), out=np.zeros_like(flat), where=flat > 0)
