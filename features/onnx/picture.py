"""From an RGB picture to the numbers an image network takes, by Pillow and numpy alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling
from pydantic import PositiveInt

from features.section import Section

Triple = tuple[float, float, float]


class PictureSpec(Section):
    """How a picture is resized, cropped and normalized; follows torchvision, pixel by pixel."""

    resize: PositiveInt | tuple[PositiveInt, PositiveInt]
    """Length of the shorter side, the other in proportion; or height and width, whatever the proportion."""
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """How pixels are mixed when a picture is resized."""
    crop: tuple[PositiveInt, PositiveInt] | None
    """Height and width cut from the middle, None for all."""
    mean: Triple | None
    """Of red, green and blue in [0, 1]; None where the network takes pixels as they are stored."""
    std: Triple | None
    """Likewise, the standard deviation."""


def pixels(image: Image, spec: PictureSpec) -> NDArray[np.uint8]:
    """Resize and crop, uint8 [3, height, width]."""
    if isinstance(spec.resize, int):
        short, long = sorted(image.size)
        other = int(spec.resize * long / short)
        size = (spec.resize, other) if image.width <= image.height else (other, spec.resize)
    else:
        size = (spec.resize[1], spec.resize[0])
    resized = image if image.size == size else image.resize(size, Resampling[spec.resample.upper()])
    if spec.crop is not None:
        height, width = spec.crop
        if resized.height < height or resized.width < width:
            raise ValueError(
                f"a crop of {width} x {height} must fit into the resized {resized.width} x {resized.height}"
            )
        top, left = (round((have - need) / 2) for have, need in ((resized.height, height), (resized.width, width)))
        resized = resized.crop((left, top, left + width, top + height))
    return np.ascontiguousarray(np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1))


def normalized(batch: NDArray[np.uint8], spec: PictureSpec) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Pixels [n, 3, height, width] as the network takes them: as they are, or float32 with mean 0 and variance 1."""
    if spec.mean is None or spec.std is None:
        return batch
    mean, std = (np.asarray(triple, dtype=np.float32)[:, None, None] for triple in (spec.mean, spec.std))
    scaled: NDArray[np.float32] = (batch.astype(np.float32) / np.float32(255) - mean) / std
    return scaled
