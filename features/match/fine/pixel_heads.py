"""A network of its own that tells attributes from pixels: the bundled one, and beside it the colors it looks at.

Heads on frozen scenes see what a network trained for objects has kept. This one learns what to keep, at the price of
running over every picture in every epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.encoders import bundled
from features.encoders.scenes import to_lab
from features.match.fine.config import PixelConfig

LOOKING_STAGE, LOOKING_CHANNELS = 4, 112
"""The stage of the network from which it is decided where to look; two more only make it coarser."""
LOOKS, SHADES = 4, 128
"""Places that are looked at, and learned classes of color that are counted in each."""


class SeenColors(nn.Module):
    """Each pixel's color as learned shades, averaged where learned attention looks, [n, LOOKS * SHADES]."""

    def __init__(self) -> None:
        super().__init__()
        self.shades = nn.Sequential(nn.Conv2d(6, 64, 1), nn.GELU(), nn.Conv2d(64, SHADES, 1), nn.GELU())
        self.look = nn.Conv2d(LOOKING_CHANNELS, LOOKS, 1)
        self.norm = nn.LayerNorm(LOOKS * SHADES)

    def forward(self, rgb: Tensor, deep: Tensor) -> Tensor:
        """Look.

        Args:
            rgb: [n, 3, height, width] in [0, 1].
            deep: what the network's stage makes of it, [n, LOOKING_CHANNELS, h, w].
        """
        with torch.autocast(rgb.device.type, enabled=False):  # bfloat16 cannot tell one shade from the next
            shades = self.shades(torch.cat([2 * rgb - 1, to_lab(rgb) / 50], dim=1)).flatten(2)
            wide = functional.interpolate(self.look(deep.float()), size=rgb.shape[2:], mode="bilinear")
            looked = torch.einsum("nlp,nsp->nls", wide.flatten(2).softmax(dim=2), shades)
            seen: Tensor = self.norm(looked.flatten(1))
        return seen


class PixelHeads(nn.Module):
    """Pixels to the logits of every attribute.

    Args:
        n_values: values of each attribute.
        config: size of the pictures, dropout.
    """

    def __init__(self, n_values: tuple[int, ...], config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = bundled.image_network()
        self.colors = SeenColors()
        heads = [nn.Linear(bundled.IMAGE_DIM + LOOKS * SHADES, n) for n in n_values]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.heads = nn.ModuleList(heads)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """uint8 [n, 3, height, width] of the configured size to float32 [n, values] an attribute."""
        rgb = pixels.contiguous(memory_format=torch.channels_last).float() / 255
        net = self.network
        x = net.bn1(net.conv_stem(2 * rgb - 1))  # type: ignore[operator]
        for number, stage in enumerate(net.blocks):  # type: ignore[arg-type]
            x = stage(x)
            if number == LOOKING_STAGE:
                deep = x
        last = net.bn2(net.conv_head(x)).mean((2, 3)).float()  # type: ignore[operator]
        seen = torch.cat([last, self.colors(rgb, deep)], dim=1)
        seen = functional.dropout(seen, self.config.dropout, self.training)
        return [head(seen).float() for head in self.heads]

    @torch.inference_mode()
    def told(self, pixels: Tensor) -> list[Tensor]:
        """Probability of each value of each attribute, float32 [n, values]: the mean over a picture and its mirror
        image.

        Args:
            pixels: uint8 [n, 3, any height, any width].
        """
        at = fitting(pixels, self.config)
        ways = [self(at), self(at.flip(3))]
        return [(a.softmax(1) + b.softmax(1)) / 2 for a, b in zip(*ways, strict=True)]


def fitting(pixels: Tensor, config: PixelConfig) -> Tensor:
    """Pictures at the configured size, uint8 [n, 3, height, width]; a few hundred at once."""
    size = (config.height, config.width)
    if pixels.shape[2:] == size:
        return pixels
    small = [
        functional.interpolate(part.float(), size=size, mode="bicubic", antialias=True).clamp(0, 255).round().byte()
        for part in torch.split(pixels, 256)
    ]
    return torch.cat(small)
