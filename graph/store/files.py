"""Arrays of a stored graph: npy files written piece by piece, read as memory maps, and known by their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.vocabulary import Vocabulary

HEADER_BYTES = 128
NAMES_AT_ONCE = 50_000
_NAMES = (("bytes", np.uint8), ("ends", np.int64))


class ArrayWriter:
    """A one-dimensional npy file that grows; its length is written when it is closed, at the end of a `with`.

    Args:
        path: the file.
        dtype: of its elements.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("wb")
        self._dtype = dtype.newbyteorder("<")
        self._n = 0
        self._file.write(b"\0" * HEADER_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __len__(self) -> int:
        return self._n

    def append(self, values: NDArray[Any]) -> None:
        """Write some more elements."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self._n += len(values)

    def _close(self) -> None:
        told = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': ({self._n},), }}".encode()
        start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write((start + told).ljust(HEADER_BYTES - 1) + b"\n")
        self._file.close()


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write a whole one-dimensional array."""
    with ArrayWriter(path, values.dtype) as writer:
        writer.append(values)


def open_array(path: Path) -> np.memmap[Any, Any]:
    """An array as a memory map.

    Raises:
        InputError: the file is missing or no npy file.
    """
    try:
        found: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return found


def read_piece(values: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
    """A copy of a part of a memory map, read past the map, so that what was read does not stay in memory."""
    if not isinstance(values, np.memmap):
        return np.array(values[start:stop])
    offset = int(values.offset) + start * values.itemsize
    return np.fromfile(str(values.filename), dtype=values.dtype, count=max(stop - start, 0), offset=offset)


def write_names(folder: Path, names: Iterable[str]) -> None:
    """Texts as one run of UTF-8 bytes and the place where each ends."""
    folder.mkdir(parents=True)
    rest = iter(names)
    bytes_, ends_ = (ArrayWriter(folder / f"{name}.npy", np.dtype(kind)) for name, kind in _NAMES)
    with bytes_, ends_:
        while encoded := [name.encode() for name in islice(rest, NAMES_AT_ONCE)]:
            before = len(bytes_)
            bytes_.append(np.frombuffer(b"".join(encoded), dtype=np.uint8))
            ends_.append(before + np.cumsum([len(name) for name in encoded], dtype=np.int64))


def read_names(folder: Path) -> list[str]:
    """What `write_names` wrote."""
    text = open_array(folder / "bytes.npy").tobytes()
    ends = open_array(folder / "ends.npy").tolist()
    return [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]


def read_vocabulary(folder: Path) -> Vocabulary:
    """Names as a vocabulary."""
    return Vocabulary(tuple(read_names(folder)))


def digest(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
