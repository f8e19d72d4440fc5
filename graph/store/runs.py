"""Sort more edges than fit into memory: sorted runs on disk, merged range by range (external merge sort)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graph.relations.sums import summed
from graph.store.files import open_array, read_piece, write_array

CHUNK_EDGES = 1_000_000
"""Edges sorted in memory at once, about 60 MB."""

MOST_STEP = 4096

Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Sources, targets and summed weights of some edges."""


class EdgeRuns:
    """Edges given in any order and number, given back once each, ordered by source and target.

    Weights of an edge that is given more than once are added up in the order in which they were given, whatever the
    size of the chunks.

    Args:
        folder: where runs go; it is made when the first is written.
        n_dst: number of targets.
        chunk_edges: edges in memory at once.
    """

    def __init__(self, folder: Path, n_dst: int, *, chunk_edges: int = CHUNK_EDGES) -> None:
        self._folder, self._n_dst, self._chunk = folder, n_dst, chunk_edges
        self._key: list[NDArray[np.int64]] = []
        self._weight: list[NDArray[np.float64]] = []
        self._held = 0
        self._runs: list[_Run] = []

    def add(self, src: NDArray[np.int64], dst: NDArray[np.int64], weight: NDArray[np.float64]) -> None:
        """Take some more edges."""
        for start in range(0, len(src), self._chunk):
            piece = slice(start, start + self._chunk)
            self._key.append(src[piece].astype(np.int64) * self._n_dst + dst[piece])
            self._weight.append(weight[piece].astype(np.float64))
            self._held += len(self._key[-1])
            if self._held >= self._chunk:
                self._spill()

    def merged(self) -> Iterator[Part]:
        """Every edge once, in parts of about `chunk_edges` edges; the runs are deleted at the end."""
        if not self._runs:
            yield from self._parts(*self._sorted())
            return
        if self._held:
            self._spill()
        done = [0] * len(self._runs)
        for limit in self._limits():
            stops = [run.find(limit) for run in self._runs]
            spans = list(zip(self._runs, done, stops, strict=True))
            key = np.concatenate([read_piece(run.key, start, stop) for run, start, stop in spans])
            weight = np.concatenate([read_piece(run.weight, start, stop) for run, start, stop in spans])
            done = stops
            yield from self._parts(key, weight)
        for run in self._runs:
            Path(str(run.key.filename)).unlink()
            Path(str(run.weight.filename)).unlink()
        self._folder.rmdir()

    def _parts(self, key: NDArray[np.int64], weight: NDArray[np.float64]) -> Iterator[Part]:
        if len(key):
            once, total = summed(key, weight)
            yield once // self._n_dst, once % self._n_dst, total

    def _limits(self) -> list[int]:
        """Keys that cut the range so that about `chunk_edges` edges lie between two."""
        total = sum(len(run.key) for run in self._runs)
        sample = np.sort(np.concatenate([run.every for run in self._runs]))
        wanted = max(1, -(-total // self._chunk))
        cuts = sample[np.linspace(0, len(sample), wanted + 1)[1:-1].astype(np.int64)]
        return [*np.unique(cuts).tolist(), np.iinfo(np.int64).max]

    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        key = np.concatenate([*self._key, np.zeros(0, dtype=np.int64)])
        weight = np.concatenate([*self._weight, np.zeros(0, dtype=np.float64)])
        self._key, self._weight, self._held = [], [], 0
        order = np.argsort(key, kind="stable")
        return key[order], weight[order]

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        key, weight = self._sorted()
        number = len(self._runs)
        write_array(self._folder / f"{number:06d}-key.npy", key)
        write_array(self._folder / f"{number:06d}-weight.npy", weight)
        step = max(1, min(MOST_STEP, self._chunk // 8))
        self._runs.append(
            _Run(
                open_array(self._folder / f"{number:06d}-key.npy"),
                open_array(self._folder / f"{number:06d}-weight.npy"),
                key[::step].copy(),
                step,
            )
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A sorted run on disk, which is read in pieces and never through the map: mapped pages would count as memory.

    Args:
        key: memory map, rising.
        weight: memory map.
        every: each `step`-th key, in memory.
        step: see above.
    """

    key: np.memmap[tuple[int], np.dtype[np.int64]]
    weight: np.memmap[tuple[int], np.dtype[np.float64]]
    every: NDArray[np.int64]
    step: int

    def find(self, limit: int) -> int:
        """Number of keys below a limit."""
        block = int(np.searchsorted(self.every, limit, side="left")) - 1
        if block < 0:
            return 0
        start = block * self.step
        piece = read_piece(self.key, start, min(start + self.step, len(self.key)))
        return start + int(np.searchsorted(piece, limit, side="left"))
