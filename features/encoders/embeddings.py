"""What an encoder makes of a catalog: one vector an item and modality, and which items have one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One modality's vectors, one row an item.

    Args:
        vectors: float32 [n_items, dim]; rows of length 1, or all zero where the modality is missing.
        mask: bool [n_items]; False where the modality is missing.
        encoder: fingerprint of the encoder that made them.
        space: what they may be compared with: vectors of the same space; "" where nobody said.

    Raises:
        ValueError: the shapes disagree, a present row has not length 1, or a missing row is not zero.
    """

    vectors: NDArray[np.float32]
    mask: NDArray[np.bool_]
    encoder: str
    space: str = ""

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.mask.shape != (len(self.vectors),):
            raise ValueError(
                f"vectors must be [n_items, dim] with a mask [n_items], got {self.vectors.shape} and {self.mask.shape}"
            )
        length = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
        wrong = np.flatnonzero(~(np.abs(length - self.mask) < 1e-3))
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"vectors must have length 1, or 0 where missing, row {row} has {length[row]} and mask {self.mask[row]}"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @classmethod
    def of(cls, raw: NDArray[np.float32], mask: NDArray[np.bool_], encoder: str) -> Embeddings:
        """Scale the rows to length 1; a row that is masked out, zero or not finite becomes a missing one.

        Args:
            raw: float32 [n_items, dim], any length.
            mask: bool [n_items].
            encoder: fingerprint of the encoder.
        """
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        present = mask & np.isfinite(length[:, 0]) & (length[:, 0] > 0)
        vectors = np.zeros_like(raw, dtype=np.float32)
        np.divide(raw, length, out=vectors, where=present[:, None])
        return cls(vectors, present, encoder)

    @classmethod
    def missing(cls, n_items: int, dim: int, encoder: str, space: str = "") -> Embeddings:
        """No item has this modality."""
        return cls(np.zeros((n_items, dim), dtype=np.float32), np.zeros(n_items, dtype=bool), encoder, space)


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """What is known of each item from its words and from its picture.

    Raises:
        ValueError: the modalities count different items.
    """

    text: Embeddings
    image: Embeddings

    def __post_init__(self) -> None:
        if len(self.text) != len(self.image):
            raise ValueError(f"modalities must have a row an item, text has {len(self.text)}, image {len(self.image)}")

    def __len__(self) -> int:
        return len(self.text)

    @property
    def shared_space(self) -> bool:
        """Whether words and pictures were put into one space by a joint model, so that their cosines tell how well they
        fit each other.
        """
        return bool(self.text.space) and self.text.space == self.image.space

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Mask, bool [n_items]; True where an item has both words and a picture."""
        return self.text.mask & self.image.mask
