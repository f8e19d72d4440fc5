"""Sort more edges than fit into memory: sorted runs on disk, merged range by range (external merge sort)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graph.relations.sums import summed
from graph.store.files import open_array, read_piece, write_array

CHUNK_EDGES = 1_000_000
"""Edges sorted in memory at once, about 60 MB."""

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
        self._runs = 0

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
        if self._runs == 0:
            yield from self._parts(*self._sorted())
            return
        if self._held:
            self._spill()
        keys = [open_array(self._run(number, "key")) for number in range(self._runs)]
        weights = [open_array(self._run(number, "weight")) for number in range(self._runs)]
        done = np.zeros(self._runs, dtype=np.int64)
        for limit in self._limits(keys):
            stops = np.array([np.searchsorted(key, limit, side="left") for key in keys])
            spans = list(zip(done.tolist(), stops.tolist(), strict=True))
            key = np.concatenate([read_piece(one, *span) for one, span in zip(keys, spans, strict=True)])
            weight = np.concatenate([read_piece(one, *span) for one, span in zip(weights, spans, strict=True)])
            done = stops
            yield from self._parts(key, weight)
        for number in range(self._runs):
            self._run(number, "key").unlink()
            self._run(number, "weight").unlink()
        self._folder.rmdir()

    def _parts(self, key: NDArray[np.int64], weight: NDArray[np.float64]) -> Iterator[Part]:
        if len(key):
            once, total = summed(key, weight)
            yield once // self._n_dst, once % self._n_dst, total

    def _limits(self, keys: list[NDArray[np.int64]]) -> list[int]:
        """Keys that cut the range so that about `chunk_edges` edges lie between two."""
        total = sum(len(key) for key in keys)
        step = max(1, self._chunk // (8 * len(keys)))
        sample = np.sort(np.concatenate([np.asarray(key[step - 1 :: step]) for key in keys]))
        wanted = max(1, -(-total // self._chunk))
        cuts = sample[np.linspace(0, len(sample), wanted + 1)[1:-1].astype(np.int64)] if len(sample) else sample
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
        write_array(self._run(self._runs, "key"), key)
        write_array(self._run(self._runs, "weight"), weight)
        self._runs += 1

    def _run(self, number: int, what: str) -> Path:
        return self._folder / f"{number:06d}-{what}.npy"
