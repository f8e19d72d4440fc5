"""Pictures to vectors, through a network read by `timm`; and which encoder a configuration names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor, nn

from features.encoders import bundled, models, tuning
from features.encoders.config import BUNDLED, EncoderConfig
from features.encoders.protocol import Arrays, ImageEncoder, Normalization, Prepared
from features.encoders.vision import JointImageEncoder, VisionEncoder
from features.errors import InputError

__all__ = ["ImageEncoder", "JointImageEncoder", "Prepared", "TimmEncoder", "VisionEncoder", "image_encoder"]

_LOADING = RLock()
"""Pictures are prepared in several threads; the first one reads the model, the others wait."""


class PixelNetwork(nn.Module):
    """Pixels as they are stored to features: scaled and normalized first.

    Args:
        network: takes normalized pixels.
        mean: of red, green and blue in [0, 1].
        std: likewise, the standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 3, height, width] to float [n, dim]."""
        scaled = pixels.to(memory_format=torch.channels_last).float() / 255
        features: Tensor = self.network((scaled - self.mean) / self.std)
        return features

    def parts(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized pixels to features [n, dim] and what they are pooled from: [n, dim, rows, columns], or of a
        network of tokens [n, tokens, dim], without those that stand for no place.
        """
        last: Tensor = self.network.forward_features(pixels)  # type: ignore[operator]
        pooled: Tensor = self.network.forward_head(last)  # type: ignore[operator]
        if last.ndim == 3:
            return pooled, last[:, getattr(self.network, "num_prefix_tokens", 0) :]
        return pooled, last.permute(0, 3, 1, 2) if str(getattr(self.network, "output_fmt", "")) == "NHWC" else last


@dataclass(frozen=True)
class TimmEncoder:
    """A timm network without its classifier: pooled features.

    Args:
        folder: config.json and model.safetensors as timm saves them; None for the bundled network.
        device: where it runs.
        tuned: file of what the network has learned since.
    """

    folder: Path | None
    device: torch.device
    tuned: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes vectors."""
        return models.fingerprint(self._files, "image", 1)

    @cached_property
    def weights(self) -> str:
        """Names the weights alone, however they are used."""
        return models.fingerprint(self._files)

    @property
    def _files(self) -> list[Path]:
        files = [bundled.image_file()] if self.folder is None else models.weight_files(self.folder)
        return files + ([self.tuned] if self.tuned else [])

    @property
    def space(self) -> str:
        """Its own."""
        return self.fingerprint

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"image model {bundled.IMAGE_ARCHITECTURE if self.folder is None else self.folder}"

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        if self.folder is None:
            return bundled.IMAGE_DIM
        height_width = self.data_config["input_size"][1:]
        return int(self.encode([np.zeros((3, *height_width), dtype=np.uint8)]).shape[1])

    @property
    def normalization(self) -> Normalization:
        """Features are as the network gives them."""
        return "none"

    @property
    def dynamic(self) -> dict[str, tuple[int, ...]]:
        """Any number of pictures."""
        return {"pixels": (0,)}

    def prepare(self, image: Image) -> NDArray[np.uint8]:
        """Resize and crop as the network was trained, uint8 [3, height, width], the colors of a pixel side by side."""
        prepared: NDArray[np.uint8] = self._transform(image).numpy()
        return prepared

    def inputs(self, batch: list[Prepared]) -> Arrays:
        """Pixels, uint8 [len(batch), 3, height, width], in memory as `prepare` left them: what convolutions want."""
        rows = np.stack([one.transpose(1, 2, 0) for one in batch if isinstance(one, np.ndarray)])
        return {"pixels": rows.transpose(0, 3, 1, 2)}

    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Pooled features, float32 [len(batch), dim]."""
        return models.run(self.network, self.inputs(batch), self.device)

    @cached_property
    def network(self) -> PixelNetwork:
        """Pixels to pooled features; convolutions run on channels that lie next to each other in memory.

        Raises:
            InputError: the network cannot be read.
        """
        with _LOADING:
            normal = {name: tuple(self.data_config[name]) for name in ("mean", "std")}
            network = PixelNetwork(self._features, **normal)
            if self.tuned is not None:
                tuning.apply_tuned(network, self.tuned, base=replace(self, tuned=None).weights)
        return network.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    @cached_property
    def data_config(self) -> dict[str, Any]:
        """How the network's pictures are prepared, in timm's terms."""
        with _LOADING:
            config: dict[str, Any] = models.timm().data.resolve_data_config({}, model=self._features)
        return config

    @cached_property
    def _features(self) -> nn.Module:
        if self.folder is None:
            return bundled.image_network()
        try:
            network: nn.Module = models.timm().create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"image_model cannot be read from {self.folder}: {error}") from error
        return network

    @cached_property
    def _transform(self) -> Any:
        return models.timm().data.create_transform(**self.data_config, is_training=False, normalize=False)


def image_encoder(config: EncoderConfig) -> ImageEncoder:
    """The encoder that a configuration names.

    Raises:
        InputError: its model cannot be found or used.
    """
    device = models.device_of(config.device)
    tuned = tuning.tuned_file(config.tuned, tuning.IMAGE_FILE)
    if config.image_model == BUNDLED:
        return TimmEncoder(None, device, tuned)
    folder = models.folder_of(config.image_model, option="image_model", download=config.download)
    if "architecture" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        return TimmEncoder(folder, device, tuned)
    if models.joint_space(folder) is not None:
        if tuned is not None:
            raise InputError(f"{tuned} must tune the model that is named, a joint one is never tuned: {folder}")
        return JointImageEncoder(folder, device)
    return VisionEncoder(folder, device, config.image_pooling, tuned)
