"""A picture in parts: what every depth of the bundled network sees, where in the picture, and in which colors.

One pooled vector tells a shirt from a shoe. Stripes, prints and colors are told apart by earlier stages, by where they
are, and by the pixels themselves; a network trained for objects has learned to ignore much of that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLED = (2, 4, 5, 6)
"""Stages whose mean and maximum over the picture are kept, beside those of the last layer."""
GRIDDED = (2, 4)
"""Stages of which the means over each cell of `GRID` are kept."""
GRID = (4, 3)
"""Cells from top to bottom and from left to right."""
COLOR_GRID = (8, 6)
STEPS = 8
"""Steps of each axis of the color histogram."""
MOST_CHROMA = 48.0
"""Colors further from gray are counted in the outermost step; CIE Lab units."""
COLOR_DIM = 2 * STEPS**3 + 3 * COLOR_GRID[0] * COLOR_GRID[1] + 3 * GRID[0] * GRID[1]
"""Numbers by which colors are described."""
STRIDE = 32
"""Pixels of a patch on each side."""

_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_WHITE = (0.9505, 1.0, 1.089)


class SceneNetwork(nn.Module):
    """Pixels to a description of the whole and of each patch.

    Args:
        network: timm's `tf_efficientnet_lite0` without its classifier.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Describe pictures.

        Args:
            pixels: float [n, 3, height, width] in [0, 1], both sides multiples of 32.

        Returns:
            scene float [n, d_scene] and patches float [n, rows * columns, d_patch], row after row from the top.
        """
        net, kept = self.network, {}
        x = net.bn1(net.conv_stem(2 * pixels - 1))  # type: ignore[operator]
        for number, stage in enumerate(net.blocks):  # type: ignore[arg-type]
            x = stage(x)
            kept[number] = x
        last = net.bn2(net.conv_head(x))  # type: ignore[operator]
        parts = [
            pooled for x in (*(kept[stage] for stage in POOLED), last) for pooled in (x.mean((2, 3)), x.amax((2, 3)))
        ]
        parts += [functional.adaptive_avg_pool2d(kept[stage], GRID).flatten(1) for stage in GRIDDED]
        colors, lab = color_parts(pixels)
        scene = torch.cat([*parts, colors], dim=1)
        rows, columns = kept[6].shape[2:]
        local = [kept[6], *patch_colors(lab, (rows, columns))]
        return scene, torch.cat(local, dim=1).flatten(2).transpose(1, 2)


def color_parts(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What a scene says of colors: histograms, and means and spreads over grids; no network is needed for it.

    Args:
        pixels: float [n, 3, height, width] in [0, 1].

    Returns:
        float32 [n, COLOR_DIM], and the picture at a quarter of its size in CIE Lab.
    """
    with torch.autocast(pixels.device.type, enabled=False):  # bfloat16 cannot tell one shade from the next
        lab = to_lab(functional.avg_pool2d(pixels, 4))
    cells = functional.adaptive_avg_pool2d(lab, COLOR_GRID).flatten(1)
    spread = _spread(lab, GRID).flatten(1)
    return torch.cat([color_histograms(lab), cells / 50, spread / 25], dim=1), lab


def patch_colors(lab: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and spread of each patch's color, [n, 3, *grid] each."""
    return functional.adaptive_avg_pool2d(lab, grid) / 50, _spread(lab, grid) / 25


def to_lab(rgb: Tensor) -> Tensor:
    """SRGB [n, 3, h, w] in [0, 1] to CIE Lab (D65): lightness in [0, 100], then green to red and blue to yellow."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=1e-6) ** 2.4, rgb / 12.92)
    white = rgb.new_tensor(_WHITE).view(1, 3, 1, 1)
    xyz = torch.einsum("ij,njhw->nihw", rgb.new_tensor(_TO_XYZ), linear) / white
    f = torch.where(xyz > 216 / 24389, xyz.clamp(min=1e-6) ** (1 / 3), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def color_histograms(lab: Tensor) -> Tensor:
    """Square roots of the shares of each color: of all pixels but the near-white ones, and of the middle.

    The root makes the dot product of two histograms their Bhattacharyya coefficient (1943).

    Args:
        lab: [n, 3, h, w].

    Returns:
        [n, 2 * STEPS ** 3]; a picture that is white all over has zeros in the first half.
    """
    n, _, height, width = lab.shape
    light = (lab[:, 0] / 100 * STEPS).long().clamp(0, STEPS - 1)
    red, yellow = (
        ((lab[:, axis] + MOST_CHROMA) / (2 * MOST_CHROMA) * STEPS).long().clamp(0, STEPS - 1) for axis in (1, 2)
    )
    color = (light * STEPS + red) * STEPS + yellow
    white = (lab[:, 0] > 97) & (lab[:, 1].abs() < 4) & (lab[:, 2].abs() < 4)
    middle = torch.zeros_like(white)
    middle[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    shares = []
    for counted in (~white, middle):
        count = lab.new_zeros(n, STEPS**3).scatter_add_(1, color.flatten(1), counted.flatten(1).to(lab.dtype))
        shares.append((count / count.sum(1, keepdim=True).clamp(min=1)).sqrt())
    return torch.cat(shares, dim=1)


def _spread(lab: Tensor, cells: tuple[int, int]) -> Tensor:
    """Standard deviation within each cell, [n, 3, *cells]."""
    mean = functional.adaptive_avg_pool2d(lab, cells)
    return (functional.adaptive_avg_pool2d(lab**2, cells) - mean**2).clamp(min=1e-6).sqrt()
