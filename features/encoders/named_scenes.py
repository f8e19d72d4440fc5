"""A picture in parts, seen by any network: the counterpart of `scenes`, which knows the bundled network's depths."""

from __future__ import annotations

from math import isqrt

import numpy as np
import torch
from PIL.Image import new as new_image
from torch import Tensor, nn
from torch.nn import functional

from features.encoders.config import EncoderConfig
from features.encoders.image import JointImageEncoder, PixelNetwork, TimmEncoder, VisionEncoder, image_encoder
from features.encoders.scenes import SceneNetwork, color_parts, patch_colors
from features.encoders.vision import VisionNetwork
from features.errors import InputError


class NamedScenes(nn.Module):
    """Pixels to a description of the whole and of each patch: the network's vector and its last features, and colors.

    Args:
        network: of `timm` or `transformers`.
        size: height and width that it sees; pictures are stretched to it.
        mean: of red, green and blue in [0, 1], as it was trained.
        std: likewise, the standard deviation.
        grid: patches from top to bottom and from left to right.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: PixelNetwork | VisionNetwork,
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        grid: tuple[int, int],
    ) -> None:
        super().__init__()
        self.network, self.size, self.grid = network, size, grid
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `SceneNetwork`: float [n, 3, height, width] in [0, 1] to scene [n, d_scene] and patches
        [n, n_patches, d_patch].
        """
        sized = functional.interpolate(pixels, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        whole, last = self.network.parts((sized - self.mean) / self.std)
        colors, lab = color_parts(pixels)
        cells = functional.adaptive_avg_pool2d(_in_places(last), self.grid)
        patches = torch.cat([cells, *patch_colors(lab, self.grid)], dim=1)
        return torch.cat([whole, colors], dim=1), patches.flatten(2).transpose(1, 2)


def _in_places(last: Tensor) -> Tensor:
    """Last features as [n, dim, rows, columns]; of a network of tokens, [n, tokens, dim], these stand for squares.

    Raises:
        InputError: the tokens fill no square.
    """
    if last.ndim == 4:
        return last
    side = isqrt(last.shape[1])
    if side * side != last.shape[1]:
        raise InputError(
            f"image_model must see a square of patches to describe a picture part by part, it sees {last.shape[1]}"
        )
    return last.transpose(1, 2).reshape(len(last), -1, side, side)


def scene_network(encoders: EncoderConfig, grid: tuple[int, int]) -> SceneNetwork | NamedScenes:
    """What describes pictures part by part, by the network that a configuration names.

    Args:
        encoders: names it.
        grid: patches from top to bottom and from left to right.

    Raises:
        InputError: the network is a joint one, or takes more than pixels.
    """
    encoder = image_encoder(encoders)
    if isinstance(encoder, JointImageEncoder):
        raise InputError(
            "image_model must be a network of pictures alone to describe them part by part, "
            f"{encoder.folder} is a joint one"
        )
    if isinstance(encoder, TimmEncoder):
        network = encoder.network
        if encoder.folder is None:
            return SceneNetwork(network.network)
        about = encoder.data_config
        return NamedScenes(network, tuple(about["input_size"][1:]), about["mean"], about["std"], grid)
    assert isinstance(encoder, VisionEncoder)  # noqa: S101 - there is no other kind
    vision = encoder.network
    assert isinstance(vision, VisionNetwork)  # noqa: S101 - joint ones were refused
    shown = encoder.prepare(new_image("RGB", (64, 64)))
    if not isinstance(shown, np.ndarray):
        raise InputError(f"image_model must take pixels alone to describe pictures part by part, see {encoder.folder}")
    given = encoder.processor
    normal = (given.image_mean, given.image_std) if given.do_normalize else ([0.0] * 3, [1.0] * 3)
    return NamedScenes(vision, (shown.shape[1], shown.shape[2]), tuple(normal[0]), tuple(normal[1]), grid)
