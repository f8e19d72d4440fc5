"""The networks that read pictures and words, trained along with the towers; what they leave as it was stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.encoders.config import EncoderConfig
from features.encoders.named_scenes import NamedScenes, scene_network
from features.encoders.text import TextEncoder, TextNetwork, pool
from features.encoders.tuning import Extent, tune
from features.errors import InputError

READ_AT_ONCE = 256
"""Texts that are read at once where nothing is learned from them."""


class Settled(nn.Module):
    """A module whose network stays in evaluation mode while the rest trains: batch statistics stay those it came with,
    and nothing of it is dropped.
    """

    network: nn.Module

    def train(self, mode: bool = True) -> Settled:
        """Training mode of everything but the network."""
        super().train(mode)
        self.network.eval()
        return self


class TunedScenes(Settled):
    """Pixels to scenes and patches by a network part of which learns.

    Args:
        encoders: names the network.
        extent: which part.
        grid: patches from top to bottom and from left to right.
    """

    def __init__(self, encoders: EncoderConfig, extent: Extent, grid: tuple[int, int]) -> None:
        super().__init__()
        self.network = scene_network(encoders, grid)
        tune(self.encoder, extent)

    @property
    def encoder(self) -> nn.Module:
        """The network with its parameters named as in the encoder of whole pictures."""
        return self.network.network if isinstance(self.network, NamedScenes) else self.network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [n, 3, height, width] to scenes [n, d_scene] and patches [n, n_patches, d_patch]."""
        x = pixels.float().contiguous(memory_format=torch.channels_last) / 255
        scene, patches = self.network(x)
        return scene, patches


class TunedSentences(Settled):
    """Numbers of tokens to sentences and the states of tokens by a network part of which learns.

    Args:
        encoders: names the network.
        extent: which part.
        tokens: of a text whose states are given.

    Raises:
        InputError: the model is a joint one, whose words would leave the space of its pictures.
    """

    network: TextNetwork

    def __init__(self, encoders: EncoderConfig, extent: Extent, tokens: int) -> None:
        super().__init__()
        encoder = TextEncoder.of(encoders)
        self.network = encoder.network
        if self.network.joint:
            raise InputError(f"a text model that is tuned must not be a joint one, {encoder.folder} is")
        self.fill, self.tokens = encoder.tokenizer.pad_token_id or 0, tokens
        tune(self.network, extent)

    @property
    def encoder(self) -> nn.Module:
        """The network with its parameters named as in the text encoder."""
        return self.network

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Read texts.

        Args:
            ids: int64 [n, t]; -1 where there is no token.

        Returns:
            sentences [n, dim], rows of length 1 or zero for a text without a token, and states [n, tokens, dim], zero
            where there is no token.
        """
        at_once = len(ids) if torch.is_grad_enabled() else READ_AT_ONCE
        parts = [self._read(part) for part in torch.split(ids, max(1, at_once))]
        sentences, states = zip(*parts, strict=True)
        return torch.cat(sentences), torch.cat(states)

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        own = (ids >= 0)[:, : max(1, int((ids >= 0).sum(1).max()))] if len(ids) else ids >= 0
        told = own.clone()
        told[:, 0] = True  # attention over nothing is no number
        hidden = self.network.hidden(ids[:, : own.shape[1]].masked_fill(~own, self.fill), told.long())
        hidden = hidden * own.unsqueeze(2)
        sentence = functional.normalize(pool(hidden, told.long(), self.network.pooling).float(), dim=1)
        return sentence, functional.pad(hidden, (0, 0, 0, self.tokens - hidden.shape[1]))
