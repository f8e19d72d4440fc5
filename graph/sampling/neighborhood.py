"""What a few nodes need of a graph for their embeddings, drawn at random: propagation at the cost of a batch.

Full propagation takes L steps y = A x over all nodes. The rows of a batch need only their neighbors within L steps, and
where these are too many, k of a node's d edges, drawn uniformly (Hamilton et al. 2017) and counted d / k times
(Horvitz & Thompson 1952). With all edges drawn the result is the exact one; with some it is right on average, but for
walks that come through a node twice, which three steps may, since a node draws once.

A node d steps from the rows is needed in the first L - d steps alone, so the steps shrink. Nodes stand in the order in
which they were met, those needed longest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from graph.csr import sparse_csr
from graph.directed import Directed, propagate_directed
from graph.sampling.incoming import Incoming
from graph.sampling.numbering import Shared
from graph.sampling.walk import ALL, Walk

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Csr:
    """A sparse matrix [len(start) - 1, n_columns] as plain tensors, which can be pinned and sent from worker processes.

    Args:
        start: int32 [n_rows + 1].
        column: int32 [n_entries].
        value: float32 [n_entries].
        n_columns: of the matrix.
    """

    start: torch.Tensor
    column: torch.Tensor
    value: torch.Tensor
    n_columns: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Csr:
        """From scipy."""
        return cls(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            matrix.shape[1],
        )

    def tensor(self) -> torch.Tensor:
        """As PyTorch multiplies it; the same memory."""
        return sparse_csr(self.start, self.column, self.value, (len(self.start) - 1, self.n_columns))


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one relation: from the nodes that are needed before it to those needed after.

    Args:
        matrix: [n_after, n_before]; both are the first so many nodes of the neighborhood.
        transposed: [n_before, n_after].
    """

    matrix: Csr
    transposed: Csr

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Float [n_before, dim] to [n_after, dim], differentiable."""
        return propagate_directed(Directed(self.matrix.tensor(), self.transposed.tensor()), x)


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """What was drawn for some rows.

    Args:
        node: int64 [n]; rows of the whole graph's nodes, each once.
        place: int64 [n_rows]; position in `node` of each row that was asked for.
        steps: for each step of propagation, the first one first, its `Step` a relation.
    """

    node: torch.Tensor
    place: torch.Tensor
    steps: tuple[dict[str, Step], ...]

    def mean_of_layers(
        self, x: torch.Tensor, step: Callable[[dict[str, Step], torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """The mean of x(0), ..., x(L) at the rows that were asked for.

        Args:
            x: float [n, dim]; x(0) of the nodes.
            step: x(l) [n_after, dim] from the steps of the relations and x(l - 1) [n_before, dim].

        Returns:
            float [n_rows, dim].
        """
        total = x
        for relations in self.steps:
            x = step(relations, x)
            total = total[: len(x)] + x
        return (total / (len(self.steps) + 1)).index_select(0, self.place)

    def pin_memory(self) -> Neighborhood:
        """In memory from which a GPU can copy by itself."""
        return _changed(self, lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Neighborhood:
        """On a device."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))


def _changed(value: T, change: Callable[[torch.Tensor], torch.Tensor]) -> T:
    """The same with all its tensors changed."""
    found: Any = value
    if isinstance(value, torch.Tensor):
        found = change(value)
    elif isinstance(value, tuple):
        found = tuple(_changed(part, change) for part in value)
    elif isinstance(value, dict):
        found = {name: _changed(part, change) for name, part in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{f.name: _changed(getattr(value, f.name), change) for f in fields(value)})
    return cast(T, found)


class Neighborhoods:
    """Draws neighborhoods from symmetric matrices over the same nodes.

    Where entries have times, a neighborhood holds those before a moment alone, and is normalized as of that moment:
    an entry w between two nodes whose entries by then sum up to a and b carries w / sqrt(a b).

    Args:
        relations: relation → float32 [n_nodes, n_nodes], kept in its own memory, its indices sorted: what an edge
            carries, or w for those with times.
        fanouts: edges a node and relation, one number a step of propagation; -1 takes all.
        times: relation → float64 [n_entries]; of each entry in the order of the matrix.
    """

    def __init__(
        self,
        relations: Mapping[str, sparse.csr_matrix],
        fanouts: Sequence[int],
        *,
        times: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        times = times or {}
        self._fanouts = tuple(fanouts)
        self._incoming = {}
        self._value = {}
        for name, matrix in relations.items():
            kind = (ALL, name, ALL)
            if name in times:
                self._incoming[kind] = _timed(matrix, times[name])
            else:
                matrix.sort_indices()
                self._incoming[kind] = Incoming.of_matrix(matrix)
            self._value[kind] = torch.from_numpy(matrix.data)
            n_nodes = matrix.shape[0]
        self._sums = {
            kind: torch.cat([torch.zeros(1, dtype=torch.float64), self._value[kind][one.edge].double().cumsum(0)])
            for kind, one in self._incoming.items()
            if one.time is not None
        }
        self._number = Shared(n_nodes)

    def draw(
        self, rows: torch.Tensor, *, without: torch.Tensor, seed: int, before: float | None = None
    ) -> Neighborhood:
        """What some rows need.

        Args:
            rows: int64 [n_rows]; in any order and number.
            without: int64 [2, n]; pairs of nodes between which no edge may be used, in either direction: what is to be
                predicted from the rest.
            seed: of the draws.
            before: entries with times must be strictly before this one; None for all.
        """
        seeds, place = torch.unique(rows, return_inverse=True)
        walk = Walk({ALL: self._number}, self._incoming, torch.Generator().manual_seed(seed), disjoint=False)
        ends = torch.cat([without, without.flip(0)], dim=1)
        hidden = {kind: one.hide(ends[0], ends[1], None) for kind, one in self._incoming.items()}
        now = None if before is None else torch.tensor(before, dtype=torch.float64)
        walk.start({ALL: seeds}, now, hidden, None)
        for k in self._fanouts:
            walk.step(dict.fromkeys(self._incoming, k))
        found = walk.hetero()
        node = found.node[ALL].clone()  # the numbering keeps its own; what a process sends is moved behind its back
        met = np.cumsum(found.num_sampled_nodes[ALL])
        whole = {}
        for kind in self._incoming:
            row, column, edge = found.row[kind], found.col[kind], found.edge[kind]
            allowed = walk.allowed(kind)
            drawn = torch.bincount(column, minlength=len(allowed))
            carried = self._carried(kind, edge, node[row], node[column], now) * (allowed / drawn)[column].float()
            start = torch.cat([torch.zeros(1, dtype=torch.int64), drawn.cumsum(0)])
            parts = (carried.numpy(), row.numpy(), start.numpy())
            whole[kind[1]] = sparse.csr_matrix(parts, shape=(len(allowed), len(node)))
        steps = tuple(
            {name: _step(matrix, int(met[-2 - number]), int(met[-1 - number])) for name, matrix in whole.items()}
            for number in range(len(self._fanouts))
        )
        return Neighborhood(node, place, steps)

    def _carried(
        self,
        kind: tuple[str, str, str],
        edge: torch.Tensor,
        source: torch.Tensor,
        target: torch.Tensor,
        now: torch.Tensor | None,
    ) -> torch.Tensor:
        value = self._value[kind][edge]
        if kind not in self._sums:
            return value
        incoming, sums = self._incoming[kind], self._sums[kind]
        both = torch.ones(len(edge), dtype=torch.float64)
        for ends in (source, target):
            start = incoming.start[ends]
            both *= sums[start + incoming.degree(ends, now)] - sums[start]
        return (value / both.sqrt()).float()


def _timed(matrix: sparse.csr_matrix, time: NDArray[np.float64]) -> Incoming:
    ends = matrix.tocoo()
    index = torch.from_numpy(np.stack([ends.col, ends.row]).astype(np.int64))
    return Incoming.of(index, *matrix.shape, torch.from_numpy(time))


def _step(whole: sparse.csr_matrix, n_after: int, n_before: int) -> Step:
    """The first rows and columns of everything drawn."""
    end = whole.indptr[n_after]
    parts = (whole.data[:end], whole.indices[:end], whole.indptr[: n_after + 1])
    matrix = sparse.csr_matrix(parts, shape=(n_after, n_before))
    return Step(Csr.of(matrix), Csr.of(sparse.csr_matrix(matrix.T)))
