"""Pictures to vectors, through a network read by `timm`, or through the image tower of a joint model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from PIL.Image import new as new_image

from features.encoders import bundled, models
from features.encoders.config import BUNDLED, EncoderConfig
from features.errors import InputError

_LOADING = RLock()
"""Pictures are prepared in several threads; the first one reads the model, the others wait."""

Prepared = NDArray[np.uint8] | NDArray[np.float32]


class ImageEncoder(Protocol):
    """What turns pictures into vectors: `prepare` in any thread, then `encode` a batch."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""

    @property
    def about(self) -> str:
        """What it is, in words."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def prepare(self, image: Image) -> Prepared:
        """Resize and crop one RGB picture, [3, height, width]."""

    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Vectors of prepared pictures, float32 [len(batch), dim]."""


@dataclass(frozen=True)
class TimmEncoder:
    """A timm network without its classifier: pooled features.

    Args:
        folder: config.json and model.safetensors as timm saves them; None for the bundled network.
        device: where it runs.
    """

    folder: Path | None
    device: torch.device

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        files = [bundled.image_file()] if self.folder is None else models.weight_files(self.folder)
        return models.fingerprint(files, "image", 1)

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

    def prepare(self, image: Image) -> NDArray[np.uint8]:
        """Resize and crop as the network was trained, uint8 [3, height, width]."""
        prepared: NDArray[np.uint8] = self._transform(image).numpy()
        return prepared

    @torch.inference_mode()
    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Pooled features, float32 [len(batch), dim]."""
        pixels = torch.from_numpy(np.stack(batch)).to(self.device, memory_format=torch.channels_last)
        mean, std = (
            torch.tensor(self.data_config[name], device=self.device).view(1, 3, 1, 1) for name in ("mean", "std")
        )
        features = self._network((pixels.float() / 255 - mean) / std)
        vectors: NDArray[np.float32] = features.float().cpu().numpy()
        return vectors

    @cached_property
    def _network(self) -> torch.nn.Module:
        if self.folder is None:
            network = bundled.image_network()
        else:
            try:
                network = models.timm().create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0)
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                raise InputError(f"image_model cannot be read from {self.folder}: {error}") from error
        return network.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    @cached_property
    def data_config(self) -> dict[str, Any]:
        """How the network's pictures are prepared, in timm's terms."""
        with _LOADING:
            config: dict[str, Any] = models.timm().data.resolve_data_config({}, model=self._network)
        return config

    @cached_property
    def _transform(self) -> Any:
        return models.timm().data.create_transform(**self.data_config, is_training=False, normalize=False)


@dataclass(frozen=True)
class JointImageEncoder:
    """The image tower of a joint model in transformers' format (one with `get_image_features`).

    Args:
        folder: model and image processor, weights as safetensors.
        device: where it runs.
    """

    folder: Path
    device: torch.device

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        return models.fingerprint(models.weight_files(self.folder), "joint image", 1)

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"image tower of the joint model {self.folder.name} at {self.folder}"

    @cached_property
    def dim(self) -> int:
        """Length of a vector; reads the weights."""
        return int(self.encode([self.prepare(new_image("RGB", (64, 64)))]).shape[1])

    def prepare(self, image: Image) -> NDArray[np.float32]:
        """Resize, crop and normalize as the model's own processor says, float32 [3, height, width]."""
        prepared: NDArray[np.float32] = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return prepared

    @torch.inference_mode()
    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Projected image features, float32 [len(batch), dim]."""
        given = self._model.get_image_features(pixel_values=torch.from_numpy(np.stack(batch)).to(self.device))
        pooled = given if isinstance(given, torch.Tensor) else given.pooler_output
        vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors

    @cached_property
    def processor(self) -> Any:
        """The model's own image processor."""
        with _LOADING:
            return self._read("AutoImageProcessor", backend="pil")

    @cached_property
    def _model(self) -> Any:
        with _LOADING:
            model = self._read("AutoModel", use_safetensors=True, dtype=torch.float32)
        if not hasattr(model, "get_image_features"):
            raise InputError(f"image_model must be a timm network or a joint model, {self.folder} is neither")
        return model.to(self.device).eval()

    def _read(self, kind: str, **options: object) -> Any:
        try:
            return getattr(models.transformers(), kind).from_pretrained(self.folder, local_files_only=True, **options)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"image_model cannot be read from {self.folder}: {error}") from error


def image_encoder(config: EncoderConfig) -> ImageEncoder:
    """The encoder that a configuration names.

    Raises:
        InputError: its model cannot be found or used.
    """
    device = models.device_of(config.device)
    if config.image_model == BUNDLED:
        return TimmEncoder(None, device)
    folder = models.folder_of(config.image_model, option="image_model")
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"image_model must have its weights as *.safetensors, {folder} has none")
    if "architecture" in json.loads((folder / "config.json").read_text()):
        return TimmEncoder(folder, device)
    return JointImageEncoder(folder, device)
