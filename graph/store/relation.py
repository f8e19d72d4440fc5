"""One relation on disk: its edges by source and, for the reverse, by target, each as a memory-mapped CSR."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from graph.knowledge_graph import EdgeList
from graph.schema import EdgeType, spell
from graph.store.files import ArrayWriter, open_array, read_piece, write_array
from graph.store.runs import CHUNK_EDGES, EdgeRuns, Part

Shown = Callable[[NDArray[np.float64]], NDArray[np.float32]]
"""From summed weights to those that are read."""


def as_float32(total: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sums as they are."""
    return total.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Rows:
    """One direction of a relation; the arrays are memory maps.

    Args:
        start: int64 [n + 1]; edges of row i are start[i] to start[i + 1].
        other: int32 or int64 [n_edges]; the other end.
        weight: float32 [n_edges].
        total: float64 [n_edges]; the sums that weights were made of, where events may be added; else None.
    """

    start: NDArray[np.int64]
    other: NDArray[np.integer]
    weight: NDArray[np.float32]
    total: NDArray[np.float64] | None = None

    @classmethod
    def open(cls, folder: Path) -> Rows:
        """The files of a folder."""
        total = folder / "total.npy"
        return cls(
            open_array(folder / "start.npy"),
            open_array(folder / "other.npy"),
            open_array(folder / "weight.npy"),
            open_array(total) if total.is_file() else None,
        )

    def of(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Other ends and weights of one row; a row that joined after the relation was written has none."""
        if row >= len(self.start) - 1:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        span = slice(int(self.start[row]), int(self.start[row + 1]))
        return self.other[span].astype(np.int64), np.array(self.weight[span])

    def parts(self, chunk_edges: int = CHUNK_EDGES) -> Iterator[Part]:
        """All edges in order, some rows at a time; weights are the sums where there are any."""
        start = np.asarray(self.start)
        values = self.weight if self.total is None else self.total
        row = 0
        while row < len(start) - 1:
            stop = int(np.searchsorted(start, start[row] + chunk_edges, side="right")) - 1
            stop = min(max(stop, row + 1), len(start) - 1)
            first, last = int(start[row]), int(start[stop])
            src = np.repeat(np.arange(row, stop, dtype=np.int64), np.diff(start[row : stop + 1]))
            yield (
                src,
                read_piece(self.other, first, last).astype(np.int64),
                read_piece(values, first, last).astype(np.float64),
            )
            row = stop


@dataclass(frozen=True, eq=False)
class StoredRelation:
    """A relation and its reverse.

    Args:
        edge_type: source type, relation, target type.
        folder: where it lies.
        n_edges: number of edges, one direction.
    """

    edge_type: EdgeType
    folder: Path
    n_edges: int

    @cached_property
    def forward(self) -> Rows:
        """Edges by source, in the order in which they were given; of events, by target."""
        return Rows.open(self.folder / "forward")

    @cached_property
    def backward(self) -> Rows:
        """Edges by target, then source."""
        return Rows.open(self.folder / "backward")

    def edge_list(self) -> EdgeList:
        """All edges, in memory."""
        rows = self.forward
        src = np.repeat(np.arange(len(rows.start) - 1, dtype=np.int64), np.diff(rows.start))
        return EdgeList(src, rows.other.astype(np.int64), np.array(rows.weight))


def write_relation(
    folder: Path,
    edge_type: EdgeType,
    n_src: int,
    n_dst: int,
    parts: Iterable[Part],
    *,
    shown: Shown = as_float32,
    keep_total: bool = False,
    chunk_edges: int = CHUNK_EDGES,
) -> StoredRelation:
    """Write both directions of a relation from edges that come ordered by source, each once.

    Args:
        folder: a new folder.
        edge_type: named in errors.
        n_src: nodes of the source type.
        n_dst: nodes of the target type.
        parts: the edges.
        shown: makes the weights to be read of the summed ones.
        keep_total: whether to keep the sums too, so that events may be added.
        chunk_edges: edges in memory at once.

    Raises:
        InputError: an edge leaves the range of its type, joins a node with itself, or has a weight that is not
            positive and finite; the message names the relation and the row.
    """
    turned = EdgeRuns(folder / "runs", n_src, chunk_edges=chunk_edges)

    def checked() -> Iterator[Part]:
        row = 0
        for src, dst, total in parts:
            _check(edge_type, (n_src, n_dst), (src, dst, total), first_row=row)
            turned.add(dst, src, total)
            row += len(src)
            yield src, dst, total

    n_edges = _write_rows(folder / "forward", n_src, n_dst, checked(), shown, keep_total=keep_total)
    _write_rows(folder / "backward", n_dst, n_src, turned.merged(), shown, keep_total=False)
    return StoredRelation(edge_type, folder, n_edges)


def _write_rows(folder: Path, n: int, n_other: int, parts: Iterable[Part], shown: Shown, *, keep_total: bool) -> int:
    folder.mkdir(parents=True)
    index = np.dtype(np.int32 if n_other <= np.iinfo(np.int32).max else np.int64)
    start = np.zeros(n + 1, dtype=np.int64)
    with ExitStack() as files:
        other = files.enter_context(ArrayWriter(folder / "other.npy", index))
        weight = files.enter_context(ArrayWriter(folder / "weight.npy", np.dtype(np.float32)))
        sums = files.enter_context(ArrayWriter(folder / "total.npy", np.dtype(np.float64))) if keep_total else None
        for src, dst, total in parts:
            if len(src):
                counted = np.bincount(src - src[0])
                start[src[0] + 1 : src[0] + 1 + len(counted)] += counted
            other.append(dst)
            weight.append(shown(total))
            if sums is not None:
                sums.append(total)
    write_array(folder / "start.npy", np.cumsum(start))
    return len(other)


def _check(edge_type: EdgeType, sizes: tuple[int, int], part: Part, *, first_row: int) -> None:
    where = f"relation {spell(edge_type)}"
    src, dst, weight = part
    for side, ends, size in (("source", src, sizes[0]), ("target", dst, sizes[1])):
        bad = np.flatnonzero((ends < 0) | (ends >= size))
        if len(bad):
            raise InputError(f"{where}: {side} must be in [0, {size}), row {first_row + bad[0]} has {ends[bad[0]]}")
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))
    if len(bad):
        raise InputError(f"{where}: weight must be > 0 and finite, row {first_row + bad[0]} has {weight[bad[0]]}")
    if edge_type[0] == edge_type[2]:
        bad = np.flatnonzero(src == dst)
        if len(bad):
            raise InputError(
                f"{where}: no {edge_type[0]} is its own neighbor, row {first_row + bad[0]} joins {src[bad[0]]}"
            )
