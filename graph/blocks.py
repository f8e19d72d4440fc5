"""Propagation over the whole graph block by block, for embeddings of all nodes where the graph does not fit the device.

The matrix stays in the host's memory; a block of its rows at a time is where the embeddings are.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from graph.csr import Adjacency, csr_tensor, propagate

BLOCK_ENTRIES = 2**24
"""Entries of a block, 128 MiB of them, unless a single row has more."""


class Blocks:
    """A symmetric matrix in the host's memory.

    Args:
        matrix: float32 [n_nodes, n_nodes].
        device: where the embeddings are.
        entries: most entries of a block, unless a row has more.
    """

    def __init__(self, matrix: sparse.csr_matrix, *, device: str = "cpu", entries: int = BLOCK_ENTRIES) -> None:
        self.matrix, self._device, self._entries = matrix, device, entries

    @property
    def n_entries(self) -> int:
        """Stored entries."""
        return int(self.matrix.nnz)

    @torch.no_grad()
    def product(self, x: torch.Tensor) -> torch.Tensor:
        """A x, float32 [n_nodes, dim]; no gradient goes through it."""
        out = torch.empty_like(x)
        start, n = 0, self.matrix.shape[0]
        while start < n:
            room = int(self.matrix.indptr[start]) + self._entries
            end = max(start + 1, int(np.searchsorted(self.matrix.indptr, room, side="right")) - 1)
            out[start:end] = csr_tensor(self.matrix[start:end], torch.float32, self._device) @ x
            start = end
        return out

    def mean_of_layers(self, x: torch.Tensor, layers: int) -> torch.Tensor:
        """The mean of x, A x, ..., A^L x, float32 [n_nodes, dim]; no gradient goes through it."""
        total = y = x.detach()
        for _ in range(layers):
            y = self.product(y)
            total = total + y
        return total / (layers + 1)


def spread(matrix: Adjacency | Blocks, x: torch.Tensor) -> torch.Tensor:
    """A x, by whichever way the matrix is held."""
    return matrix.product(x) if isinstance(matrix, Blocks) else propagate(matrix, x)
