"""The colors of a picture by themselves, as scenes describe them: no network is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from features.encoders import models
from features.encoders.described import describe_alone, resized_whole
from features.encoders.scenes import COLOR_DIM, color_parts
from features.pictures.sources import ImageSource
from features.quarantine import Quarantine


@dataclass(frozen=True)
class ColorEncoder:
    """Pictures to their colors."""

    side: int = 128
    """Pixels from top to bottom and from left to right; pictures are resized whole."""

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that changes the descriptions."""
        return models.fingerprint([], "colors", 1, self.side)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize one RGB picture whole, uint8 [3, side, side]."""
        return resized_whole(image, self.side, self.side)

    @torch.inference_mode()
    def encode(self, batch: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32]]:
        """Colors float32 [n, COLOR_DIM]."""
        colors, _ = color_parts(torch.from_numpy(np.stack(batch)).float() / 255)
        return (colors.numpy(),)


def read_colors(
    names: list[str], source: ImageSource | None, *, cache_dir: Path, quarantine: Quarantine
) -> NDArray[np.float16]:
    """The colors of the named pictures, as scenes describe them, float16 [n_items, COLOR_DIM]; zero for none.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    return describe_alone(
        names, source, ColorEncoder(), "colors", dim=COLOR_DIM, cache_dir=cache_dir, quarantine=quarantine
    )
