"""What every encoder declares, so that its vectors can be cached, compared and served without asking what it is."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import nn

Normalization = Literal["none", "unit"]
"""Whether an encoder's vectors are as the network gives them, or scaled to length 1."""
Kind = Literal["document", "query"]
"""What a text is: one of the catalog, or one that is searched with. Some models want a different prompt for each."""
Arrays = dict[str, NDArray[Any]]
"""Inputs of a network by name, in the order in which it takes them; axis 0 of each is the batch."""
Prepared = NDArray[np.uint8] | NDArray[np.float32] | Arrays
"""One picture, ready for a network: its pixels [3, height, width], or several arrays by name."""


class Encoder(Protocol):
    """What turns texts or pictures into vectors."""

    @property
    def dim(self) -> int:
        """Length of a vector; reads the weights where nothing else tells."""

    @property
    def normalization(self) -> Normalization:
        """Of the vectors that `encode` gives; those of a catalog always have length 1."""

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes vectors."""

    @property
    def weights(self) -> str:
        """Changes with the weights alone."""

    @property
    def space(self) -> str:
        """Vectors of two encoders may be compared where this is the same: the two towers of a joint model."""

    @property
    def about(self) -> str:
        """What it is, in words."""

    @property
    def network(self) -> nn.Module:
        """What is run: takes the arrays of a batch by position, gives float32 [n, dim]."""

    @property
    def dynamic(self) -> dict[str, tuple[int, ...]]:
        """Of each input of the network, the axes that may have any length."""


class ImageEncoder(Encoder, Protocol):
    """What turns pictures into vectors: `prepare` in any thread, then `encode` a batch."""

    def prepare(self, image: Image) -> Prepared:
        """Resize and crop one RGB picture."""

    def inputs(self, batch: list[Prepared]) -> Arrays:
        """Inputs of the network for prepared pictures."""

    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Vectors of prepared pictures, float32 [len(batch), dim]."""


def share_space(text: Encoder, image: Encoder) -> bool:
    """Whether words and pictures land in one space, so that their cosines mean something without training."""
    return text.space == image.space
