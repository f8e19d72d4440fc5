"""The shades of what a picture shows, its plain background left out, and where on the product they are.

A thumbnail is mostly background, which tells nothing of a product's color. So the background is flooded from the
border, and the rest counted: all of it, the middle more than the edges, and once more in the parts of the frame
around it, where a shirt and the trousers below it are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from features.encoders import models
from features.encoders.described import describe_alone, resized_whole
from features.encoders.scenes import to_lab
from features.pictures.sources import ImageSource
from features.quarantine import Quarantine

SIZE = (80, 60)
"""Pixels from top to bottom and from left to right; pictures are resized whole."""
BACKGROUND_REACH = 6.0
"""A pixel no further from the border's middle color may be background; CIE Lab units."""
LEAST_SHOWN = 0.01
"""Where less than this share is left, nothing was background: a white product on white."""
FINE, COARSE = (8.0, 10.0, 10.0), (14.0, 16.0, 16.0)
"""Steps of lightness, green to red and blue to yellow in which the whole and the parts are counted."""
MOST_CHROMA = 60.0
"""Colors further from gray are counted in the outermost step."""
FRAME = (3, 2)
"""Parts of the frame from top to bottom and from left to right."""
MIDDLE = 0.25
"""Distance from the middle, as a share of the picture, at which a pixel counts 1 / e."""


def _steps(step: tuple[float, float, float]) -> tuple[int, int, int]:
    """Centers of the steps of each axis."""
    light, red, yellow = (int(np.ceil(reach / s)) + 1 for reach, s in zip((100, 120, 120), step, strict=True))
    return light, red, yellow


WHOLE_DIM = int(np.prod(_steps(FINE)))
PARTS_DIM = int(np.prod(_steps(COARSE))) * FRAME[0] * FRAME[1]


def foreground(lab: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What is not background, bool [h, w].

    Background is what hangs together with the border and is near the border's median color.

    Args:
        lab: CIE Lab, [h, w, 3].
    """
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    near = ((lab - np.median(border, axis=0)) ** 2).sum(axis=2) < BACKGROUND_REACH**2
    patch, _ = ndimage.label(near)
    outer = np.unique(np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]]))
    shown = ~np.isin(patch, outer[outer > 0])
    return shown if shown.mean() >= LEAST_SHOWN else np.ones_like(shown)


def frame_parts(shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The part of the frame around what is shown that each pixel is nearest to, int64 [h, w], row after row.

    The frame leaves out the outermost hundredth on each side: a speck of noise does not move it.
    """
    part = np.zeros(shown.shape, dtype=np.int64)
    for axis, (at, cells) in enumerate(zip(np.nonzero(shown), FRAME, strict=True)):
        first, last = np.percentile(at, 1), np.percentile(at, 99) + 1
        line = np.arange(shown.shape[axis])
        cell = ((line - first) / (last - first) * cells).astype(np.int64).clip(0, cells - 1)
        part = part * cells + np.expand_dims(cell, 1 - axis)
    return part


def soft_shares(lab: Tensor, weight: Tensor, step: tuple[float, float, float]) -> Tensor:
    """Square roots of the shares of colors, each pixel divided among the eight steps around it.

    The root makes half the squared distance of two such rows their squared Hellinger distance.

    Args:
        lab: [n, pixels, 3].
        weight: of each pixel, [n, pixels].
        step: of each axis.

    Returns:
        [n, product of the steps]; zero where no pixel counts.
    """
    n_steps = _steps(step)
    low = lab.new_tensor([0, -MOST_CHROMA, -MOST_CHROMA])
    high = lab.new_tensor([100, MOST_CHROMA, MOST_CHROMA])
    at = (lab.clamp(low, high) - low) / lab.new_tensor(step)
    below = at.floor().clamp(max=torch.tensor(n_steps) - 2.0)
    over = at - below
    base = below.long()
    counted = lab.new_zeros(len(lab), int(np.prod(n_steps)))
    for light in (0, 1):
        for red in (0, 1):
            for yellow in (0, 1):
                corner = torch.tensor([light, red, yellow])
                cell = base + corner
                number = (cell[..., 0] * n_steps[1] + cell[..., 1]) * n_steps[2] + cell[..., 2]
                counted.scatter_add_(1, number, weight * (1 - corner - over).abs().prod(dim=2))
    return (counted / counted.sum(1, keepdim=True).clamp(min=1e-9)).sqrt()


@dataclass(frozen=True)
class ShadeEncoder:
    """Pictures to the shades of what they show."""

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that changes the descriptions."""
        return models.fingerprint(
            [], "shades", 1, SIZE, BACKGROUND_REACH, LEAST_SHOWN, FINE, COARSE, MOST_CHROMA, FRAME, MIDDLE
        )

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize one RGB picture whole, uint8 [3, height, width]."""
        return resized_whole(image, *SIZE)

    @torch.inference_mode()
    def encode(self, batch: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32]]:
        """Shades float32 [n, WHOLE_DIM + PARTS_DIM]; the parts' rows are scaled so that together they count as one."""
        lab = to_lab(torch.from_numpy(np.stack(batch)).float() / 255).permute(0, 2, 3, 1).contiguous()
        shown = np.stack([foreground(one) for one in lab.numpy()])
        part = torch.from_numpy(np.stack([frame_parts(one) for one in shown])).flatten(1)
        pixels, weight = lab.flatten(1, 2), torch.from_numpy(shown).float().flatten(1)
        down, across = (torch.arange(side) / side + 0.5 / side - 0.5 for side in SIZE)
        middle = torch.exp(-((down[:, None] / MIDDLE) ** 2) - (across[None, :] / MIDDLE) ** 2).flatten()
        n_parts = FRAME[0] * FRAME[1]
        rows = [soft_shares(pixels, weight * middle, FINE)]
        rows += [soft_shares(pixels, weight * (part == k), COARSE) / n_parts**0.5 for k in range(n_parts)]
        return (torch.cat(rows, dim=1).numpy(),)


def read_shades(
    names: list[str], source: ImageSource | None, *, cache_dir: Path, quarantine: Quarantine
) -> NDArray[np.float16]:
    """The shades of the named pictures, float16 [n_items, WHOLE_DIM + PARTS_DIM]; zero for none.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    return describe_alone(
        names, source, ShadeEncoder(), "shades", dim=WHOLE_DIM + PARTS_DIM, cache_dir=cache_dir, quarantine=quarantine
    )
