"""The pictures of an epoch as training sees them: each a little different than in the epoch before."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.cores import cores
from features.encoders.pipeline import run_ahead
from features.pictures.augment import AugmentConfig, augment, rng_of


def varied(pixels: Tensor, settings: AugmentConfig, *, seed: int, epoch: int) -> Tensor:
    """A variant of every picture, uint8 [n, 3, height, width], on the device of the given ones.

    Args:
        pixels: uint8 [n, 3, height, width].
        settings: what may happen to a picture.
        seed: of the training run; with the row and the epoch it decides what happens.
        epoch: number of the pass.
    """
    given = pixels.permute(0, 2, 3, 1).cpu().numpy()
    out = np.empty_like(given)

    def vary(row: int) -> None:
        out[row] = np.asarray(augment(Image.fromarray(given[row]), settings, rng_of(seed, str(row), epoch)))

    threads = cores()
    for _, done in run_ahead(vary, range(len(given)), threads=threads, ahead=16 * threads):
        done.result()
    return torch.from_numpy(out).to(pixels.device).permute(0, 3, 1, 2)
