"""Is each file of a bundle what the manifest says? Every failure names the file and what is wrong with it."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.pace import gently
from features.stored_vocabulary import Places, StoredVocabulary
from features.vocabulary import Vocabulary
from recsys.bundle_format import (
    ARRAYS,
    SEARCH_ARRAYS,
    BundleError,
    FileEntry,
    neighbor_files,
    places_file,
)

PART_BYTES = 1 << 18
"""Bytes of a file that are hashed at a time."""


def check_file(directory: Path, name: str, entry: FileEntry, *, verify: bool) -> None:
    """A file is there, of the right size and, with `verify`, of the right SHA-256."""
    path = directory / name
    if not path.is_file():
        raise BundleError(f"{path}: the manifest lists this file, it is missing")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"{path}: size must be {entry.bytes} bytes, it is {size}")
    if verify:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            for part in gently(iter(partial(file.read, PART_BYTES), b"")):
                digest.update(part)
        found = digest.hexdigest()
        if found != entry.sha256:
            raise BundleError(f"{path}: SHA-256 must be {entry.sha256[:12]}..., it is {found[:12]}...")


def map_array(directory: Path, name: str, entry: FileEntry) -> NDArray[Any]:
    """Memory-map an array file, if its dtype and shape are the format's and the manifest's."""
    path = directory / name
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise BundleError(f"{path}: not a plain array file ({error})") from error
    known = {**SEARCH_ARRAYS, **{file: form for file, (form, _) in ARRAYS.items()}}
    dtype = known.get(name) or ("<i4" if name.endswith("_idx.npy") else "<f4")
    if array.dtype.str != entry.dtype or array.dtype.str != dtype:
        raise BundleError(f"{path}: dtype must be {dtype}, it is {array.dtype.str} (the manifest says {entry.dtype})")
    if array.shape != entry.shape:
        raise BundleError(f"{path}: shape must be {entry.shape}, it is {array.shape}")
    plain: NDArray[Any] = array.view(np.ndarray)
    return plain


def map_file(path: Path) -> mmap.mmap:
    """Memory-map a file that is not empty."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def map_ids(directory: Path, name: str, files: Collection[str]) -> Vocabulary:
    """The ids of `ITEMS`, `USERS` or `SEARCH_TERMS`, memory-mapped; a bundle before 1.1 has them read, 0.5 us each.

    Args:
        directory: the bundle.
        name: the file.
        files: of the manifest.
    """
    if places_file(name) not in files:
        return Vocabulary(tuple(orjson.loads((directory / name).read_bytes())))
    try:
        return StoredVocabulary.of_file(map_file(directory / name), Places.map(directory / places_file(name)))
    except ValueError as error:
        raise BundleError(f"{directory / name}: must go with {places_file(name)}: {error}") from error


def neighbor_arrays(
    directory: Path, array: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Every pair `graph/NAME_idx.npy`, `graph/NAME_score.npy`, both [n_items, k]."""
    found: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
    for file in array:
        if not file.startswith("graph/") or not file.endswith("_score.npy"):
            continue
        name = file.removeprefix("graph/").removesuffix("_score.npy")
        idx = neighbor_files(name)[0]
        if idx not in array:
            raise BundleError(f"{directory / idx}: must come with {file}, the manifest does not list it")
        n_items = len(array["item_vectors.npy"])
        if array[idx].shape != array[file].shape or array[idx].ndim != 2 or len(array[idx]) != n_items:
            raise BundleError(
                f"{directory / idx}: shape must be [{n_items}, k] as in {file}, "
                f"they are {array[idx].shape} and {array[file].shape}"
            )
        found[name] = (array[idx], array[file])
    return dict(sorted(found.items()))


def check_axes(directory: Path, array: Mapping[str, NDArray[Any]]) -> None:
    """One axis name means one length in every file."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, (_, axes) in ARRAYS.items():
        shape = array[name].shape if name in array else None
        if shape is None or len(shape) != len(axes):
            raise BundleError(f"{directory / name}: shape must be [{', '.join(axes)}], it is {shape}")
        for axis, length in zip(axes, shape, strict=True):
            plain = axis.removesuffix(" + 1")
            rows = length - 1 if axis.endswith(" + 1") else length
            known, where = lengths.setdefault(plain, (rows, name))
            if known != rows:
                raise BundleError(
                    f"{directory / name}: shape must be [{', '.join(axes)}] with {plain} = {known} as in {where}, "
                    f"it is {shape}"
                )
