"""Vectors on disk, found by the content they were made from: what was encoded once is never encoded again.

One folder an encoder, whatever the number of vectors:

    meta.json    format, dim, what the encoder is
    vectors.f32  raw float32, little-endian, row after row
    keys.bin     32 bytes a row: SHA-256 of the content

Both files are only appended to, the vectors first and the keys after they are on disk, so that a run that is killed
leaves at most a tail without keys. Opening cuts that tail, and the next run goes on from there. Vectors are read
memory-mapped, and only those asked for; what stays in memory is 16 bytes a row (`KeyIndex`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import structlog
from numpy.typing import NDArray

from features.encoders.keys import KEY_BYTES, KeyIndex
from features.errors import InputError
from features.locks import alone_in

FORMAT = 1

log = structlog.get_logger()


def content_key(content: bytes) -> bytes:
    """SHA-256 of a text's UTF-8 or a picture's file, 32 bytes."""
    return hashlib.sha256(content).digest()


class VectorCache:
    """The vectors of one encoder; open it with `with`, which keeps other processes out until it is left.

    Args:
        root: folder of all caches; created where absent.
        encoder: the encoder's fingerprint, which names the folder within.
        about: what the encoder is, for whoever opens meta.json.

    Raises:
        InputError: the folder holds another format.
    """

    def __init__(self, root: Path, encoder: str, about: str) -> None:
        self.folder = root / encoder
        self.about = about
        self.dim: int | None = None
        self._held = ExitStack()

    def __enter__(self) -> VectorCache:
        self._held.enter_context(alone_in(self.folder, doing="encodes into the same cache"))
        try:
            self._read_meta()
            self._vectors = self._held.enter_context((self.folder / "vectors.f32").open("ab"))
            self._keys = self._held.enter_context((self.folder / "keys.bin").open("ab"))
            self._load()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: bytes) -> bool:
        return bool(self._index.find([key])[0] >= 0)

    def absent(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those that are not in the cache, each once, in their order."""
        distinct = list(dict.fromkeys(keys))
        return [key for key, row in zip(distinct, self._index.find(distinct).tolist(), strict=True) if row < 0]

    def append(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Add a batch and put it on disk.

        Args:
            keys: 32 bytes each, none of them in the cache.
            vectors: float32 [len(keys), dim].

        Raises:
            ValueError: the shapes disagree, a vector is not finite, or a key is there already.
        """
        if self.dim is None:
            self.dim = int(vectors.shape[1])
            self._write_meta()
        if vectors.shape != (len(keys), self.dim):
            raise ValueError(f"vectors must be [{len(keys)}, {self.dim}], got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"vectors must be finite, row {int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])} is not"
            )
        if len(set(keys)) != len(keys) or (self._index.find(keys) >= 0).any():
            raise ValueError("a content is encoded once, got a key that is in the cache or twice in the batch")
        for file, data in ((self._vectors, vectors.astype("<f4").tobytes()), (self._keys, b"".join(keys))):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._index.add(keys)

    def take(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Vectors of the given contents, float32 [len(keys), dim].

        Raises:
            KeyError: one of them was never encoded.
        """
        rows = self._index.find(keys)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise KeyError(keys[int(unknown[0])].hex())
        if not len(rows) or self.dim is None:
            return np.zeros((len(rows), self.dim or 0), dtype=np.float32)
        shape = (len(self), self.dim)
        stored = np.memmap(self.folder / "vectors.f32", dtype="<f4", mode="r", shape=shape)
        return np.asarray(stored[rows], dtype=np.float32)

    def _read_meta(self) -> None:
        file = self.folder / "meta.json"
        if not file.is_file():
            return
        meta = json.loads(file.read_text())
        if meta.get("format") != FORMAT:
            raise InputError(f"vector cache must have format {FORMAT}, {file} has {meta.get('format')!r}: delete it")
        self.dim = int(meta["dim"])

    def _write_meta(self) -> None:
        draft = self.folder / "meta.json.new"
        draft.write_text(json.dumps({"format": FORMAT, "dim": self.dim, "encoder": self.about}, indent=1))
        draft.replace(self.folder / "meta.json")

    def _load(self) -> None:
        row_bytes = 4 * (self.dim or 0)
        n_vectors = self._vectors.tell() // row_bytes if row_bytes else 0
        n = min(n_vectors, self._keys.tell() // KEY_BYTES)
        for file, size in ((self._vectors, n * row_bytes), (self._keys, n * KEY_BYTES)):
            if file.tell() > size:
                log.info("cut what an interrupted run left", file=file.name, bytes=file.tell() - size)
                file.truncate(size)
                file.seek(size)
        self._index = KeyIndex(self.folder / "keys.bin", n)
