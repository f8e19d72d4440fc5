"""What must hold of the arrays before they are written to a bundle; no reader then needs to look for it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle_format import ARRAYS, neighbor_files

VECTORS = ("item_vectors.npy", "user_embeddings.npy", "text_vectors.npy", "image_vectors.npy")
"""Files in which every number must be finite."""


def check_arrays(
    arrays: Mapping[str, NDArray[Any]],
    neighbors: Mapping[str, tuple[NDArray[Any], NDArray[np.float32]]],
    *,
    n_items: int,
    n_users: int,
) -> None:
    """Axes agree by name, vectors are finite, row numbers exist.

    Args:
        arrays: file name -> values, one for each of `ARRAYS`.
        neighbors: modality -> (row numbers, cosines).
        n_items: length of the items' vocabulary.
        n_users: length of the users' vocabulary.

    Raises:
        ValueError: the message names the file, and the row where there is one.
    """
    lengths = {"n_items": n_items, "n_users": n_users}
    for file, (_, axes) in ARRAYS.items():
        shape = arrays[file].shape
        plain = [axis.removesuffix(" + 1") for axis in axes]
        rows = [length - axis.endswith(" + 1") for axis, length in zip(axes, shape, strict=False)]
        if len(shape) != len(axes) or any(
            lengths.setdefault(axis, length) != length for axis, length in zip(plain, rows, strict=True)
        ):
            known = {axis: lengths[axis] for axis in plain if axis in lengths}
            raise ValueError(f"{file} must have shape [{', '.join(axes)}] with {known}, it has {shape}")
    for file in VECTORS:
        for start in range(0, len(arrays[file]), 65_536):
            good = np.isfinite(arrays[file][start : start + 65_536]).all(axis=1)
            if not good.all():
                raise ValueError(f"{file} must be finite, row {start + int(np.argmin(good))} is not")
    for name, (idx, score) in neighbors.items():
        if idx.shape != score.shape or idx.ndim != 2 or len(idx) != n_items:
            raise ValueError(f"neighbors {name!r} must be [{n_items}, k], they have {idx.shape} and {score.shape}")
    rows_of = {file: arrays[file] for file in ("similar_idx.npy", "seen_indices.npy", "graph/co_idx.npy")}
    rows_of |= {neighbor_files(name)[0]: idx for name, (idx, _) in neighbors.items()}
    for file, values in rows_of.items():
        low = 0 if file == "seen_indices.npy" else -1
        if values.size and (values.min() < low or values.max() >= n_items):
            raise ValueError(f"{file} must be in [{low}, {n_items}), it reaches {values.min()} and {values.max()}")
    indptr = arrays["seen_indptr.npy"]
    if indptr[0] != 0 or indptr[-1] != len(arrays["seen_indices.npy"]) or (np.diff(indptr) < 0).any():
        raise ValueError(
            f"seen_indptr.npy must rise from 0 to {len(arrays['seen_indices.npy'])}, it ends at {indptr[-1]}"
        )
