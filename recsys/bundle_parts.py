"""Parts of a bundle that are arrays with a meaning: neighbors, what new items hear from, and what judges listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import InputError
from features.match.stored import StoredMatch
from recsys.bundle_files import check_file, map_array
from recsys.bundle_format import COLD, MATCH, BundleError, Manifest


@dataclass(frozen=True, eq=False)
class NeighborList:
    """Each item's nearest items by one kind of likeness.

    Args:
        idx: int32 [n_items, k], best first; -1 pads.
        score: float32 [n_items, k]; cosines.
    """

    idx: NDArray[np.int32]
    score: NDArray[np.float32]

    def of(self, item_idx: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The neighbors of one item without padding: int64 [<= k] and their cosines."""
        idx = self.idx[item_idx]
        kept = idx >= 0
        return idx[kept].astype(np.int64), self.score[item_idx][kept]

    def nearest(self, rows: NDArray[np.int64], depth: int) -> NDArray[np.int32]:
        """The nearest neighbors of some items, int32 [n, <= depth]; -1 pads."""
        return self.idx[rows, :depth]

    def near(self, ours: NDArray[np.int64], theirs: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
        """Whether each of theirs is among the first `depth` neighbors of ours, and alike at all (score > 0): bool [n].

        Args:
            ours: int64 [n]; row of one item of each pair.
            theirs: int64 [n]; row of the other.
            depth: how far the lists are read.
        """
        listed = (self.idx[ours, :depth] == theirs[:, None]) & (self.score[ours, :depth] > 0)
        found: NDArray[np.bool_] = np.any(listed, axis=1)
        return found


@dataclass(frozen=True, eq=False)
class ColdNodes:
    """What an item that joins later hears from the nodes it is tied to; see `graph/cold_tower.py`.

    Args:
        values: (attribute, value) → row of `value_messages`.
        value_messages: float32 [n_values, dim].
        item_messages: float32 [n_items, dim].
        prior: of new items, as the last column of `Bundle.item_vectors`.
    """

    values: Mapping[tuple[str, str], int]
    value_messages: NDArray[np.float32]
    item_messages: NDArray[np.float32]
    prior: float

    @classmethod
    def read(cls, path: Path, manifest: Manifest, *, n_items: int, dim: int) -> ColdNodes | None:
        """Read them from a bundle's folder; None where it was written without.

        Raises:
            BundleError: an array has another shape than the items and the values ask for.
        """
        about, *arrays = COLD
        if about not in manifest.files:
            return None
        known = orjson.loads((path / about).read_bytes())
        rows = {(name, value): row for row, (name, value) in enumerate(known["values"])}
        from_values, from_items = (map_array(path, name, manifest.files[name]) for name in arrays)
        for messages, n, name in ((from_values, len(rows), arrays[0]), (from_items, n_items, arrays[1])):
            if messages.shape != (n, dim):
                raise BundleError(f"{path / name}: shape must be {(n, dim)}, it is {messages.shape}")
        return cls(rows, from_values, from_items, float(known["prior"]))


def read_match(path: Path, manifest: Manifest, widths: tuple[int, int]) -> StoredMatch | None:
    """Read the match model from a bundle's folder; None where it was written without.

    Args:
        path: the folder.
        manifest: of the bundle.
        widths: lengths of the bundle's text and image vectors.

    Raises:
        BundleError: a file was replaced since the bundle was opened, cannot be read, or judges vectors of another
            length.
    """
    if not all(name in manifest.files for name in MATCH):
        return None
    for name in MATCH:
        check_file(path, name, manifest.files[name], verify=True)
    try:
        match = StoredMatch.open((path / MATCH[0]).parent)
    except InputError as error:
        raise BundleError(f"{path}: {error}") from error
    if (match.d_text, match.d_image) != widths:
        raise BundleError(
            f"{path / MATCH[0]}: must judge vectors of lengths {widths}, it judges {(match.d_text, match.d_image)}"
        )
    return match
