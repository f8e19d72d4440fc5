"""The bundled picture network, trained along with the towers: its last stages, low-rank additions, or all of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.encoders import bundled
from features.encoders.scenes import SceneNetwork
from features.match.fine.config import Tuning

LAST_STAGES = ("blocks.5.", "blocks.6.", "conv_head.", "bn2.")
"""Names of parameters that "last_blocks" trains begin so."""


class LowRank(nn.Module):
    """A linear layer or a 1 x 1 convolution that stays, and beside it a trained product of two thin ones.

    y = W x + B A x with B zero at the start (LoRA, Hu et al., 2022), so that training begins at the network as it was.

    Args:
        base: what stays.
        rank: rows of A.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.base = base
        d_out, d_in = base.weight.shape[:2]
        self.down = nn.Parameter(torch.empty(rank, d_in))
        self.up = nn.Parameter(torch.zeros(d_out, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """As the base: [..., d_in], or [n, d_in, h, w] of a convolution."""
        y: Tensor = self.base(x)
        if isinstance(self.base, nn.Linear):
            return y + functional.linear(functional.linear(x, self.down), self.up)
        down, up = self.down[..., None, None], self.up[..., None, None]
        return y + functional.conv2d(functional.conv2d(x, down), up)


def add_low_rank(module: nn.Module, rank: int) -> int:
    """Put a `LowRank` in the place of every linear layer and plain 1 x 1 convolution; returns how many."""
    found = 0
    for name, child in list(module.named_children()):
        pointwise = (
            isinstance(child, nn.Conv2d)
            and child.kernel_size == (1, 1)
            and child.stride == (1, 1)
            and child.groups == 1
        )
        if isinstance(child, nn.Linear | nn.Conv2d) and (pointwise or isinstance(child, nn.Linear)):
            setattr(module, name, LowRank(child, rank))
            found += 1
        else:
            found += add_low_rank(child, rank)
    return found


class TunedScenes(nn.Module):
    """Pixels to scenes and patches by a network part of which learns; batch statistics stay those it came with.

    Args:
        tuning: which part.
        rank: of low-rank additions.
    """

    def __init__(self, tuning: Tuning, rank: int) -> None:
        super().__init__()
        network = bundled.image_network()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(tuning == "full" or (tuning == "last_blocks" and name.startswith(LAST_STAGES)))
        if tuning == "adapters":
            add_low_rank(network, rank)
        self.network = SceneNetwork(network)

    def train(self, mode: bool = True) -> TunedScenes:
        """Training mode of everything but the batch statistics."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [n, 3, height, width] to scenes [n, d_scene] and patches [n, n_patches, d_patch]."""
        x = pixels.float().contiguous(memory_format=torch.channels_last) / 255
        scene, patches = self.network(x)
        return scene, patches
