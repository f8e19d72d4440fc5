"""Pictures to vectors, through a vision model or a joint model read by `transformers`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor, nn

from features.encoders import models, tuning
from features.encoders.config import PatchPooling
from features.encoders.protocol import Arrays, Normalization, Prepared
from features.errors import InputError

_LOADING = RLock()
"""Pictures are prepared in several threads; the first one reads the model, the others wait."""


class JointNetwork(nn.Module):
    """The image tower of a joint model, projected into the space that its words share."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *arrays: Tensor) -> Tensor:
        """Pixels, and whatever else the processor gives, to float [n, dim]."""
        given = self.model.get_image_features(**dict(zip(self.names, arrays, strict=True)))
        vectors: Tensor = given if isinstance(given, Tensor) else given.pooler_output
        return vectors


class VisionNetwork(nn.Module):
    """A vision model's output as one vector a picture: of its pooler, its first token, or the mean of its patches."""

    def __init__(self, model: Any, names: list[str], pooling: PatchPooling | None) -> None:
        super().__init__()
        self.model, self.names, self.pooling = model, names, pooling

    def forward(self, *arrays: Tensor) -> Tensor:
        """Pixels, and whatever else the processor gives, to float [n, dim].

        Raises:
            InputError: the model does not give what is to be pooled.
        """
        return self._pooled(self.model(**dict(zip(self.names, arrays, strict=True))))

    def parts(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels to one vector a picture [n, dim] and what it is pooled from: [n, dim, rows, columns], or of a model of
        tokens [n, tokens, dim], without those that stand for no place.
        """
        given = self.model(pixel_values=pixels)
        last: Tensor = given.last_hidden_state
        return self._pooled(given), last if last.ndim == 4 else last[:, self._first_patch :]

    def _pooled(self, given: Any) -> Tensor:
        pooled: Tensor | None = getattr(given, "pooler_output", None)
        hidden: Tensor = given.last_hidden_state
        if self.pooling == "pooler" or (self.pooling is None and pooled is not None):
            if pooled is None:
                raise InputError("image_pooling must be 'cls' or 'mean', this model has no pooler")
            return pooled.flatten(1)  # ConvNeXt and kin leave [n, dim, 1, 1]
        if hidden.ndim == 4:  # [n, dim, height, width]: no token stands for the whole
            if self.pooling == "cls":
                raise InputError("image_pooling must be 'pooler' or 'mean', this model has no first token")
            return hidden.mean((2, 3))
        return hidden[:, 0] if self.pooling != "mean" else hidden[:, self._first_patch :].mean(1)

    @property
    def _first_patch(self) -> int:
        """How many tokens before the patches stand for no place: the first one, and registers."""
        own = getattr(self.model, "embeddings", None)
        registers = getattr(self.model.config, "num_register_tokens", 0) or 0
        return int(getattr(own, "cls_token", None) is not None) + int(registers)


@dataclass(frozen=True)
class VisionEncoder:
    """A vision model in transformers' format: ViT, DINOv2, ConvNeXt and kin.

    Args:
        folder: model and image processor, weights as safetensors.
        device: where it runs.
        pooling: how the output becomes one vector; None for the model's pooler, or else its first token.
        tuned: file of what the network has learned since.
    """

    folder: Path
    device: torch.device
    pooling: PatchPooling | None = None
    tuned: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes vectors."""
        return models.fingerprint(self._files, "vision", 1, self.pooling)

    @cached_property
    def weights(self) -> str:
        """Names the weights alone, however they are used."""
        return models.fingerprint(self._files)

    @property
    def _files(self) -> list[Path]:
        return models.weight_files(self.folder) + ([self.tuned] if self.tuned else [])

    @property
    def space(self) -> str:
        """Its own."""
        return self.fingerprint

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"image model {self.folder.name} at {self.folder}"

    @cached_property
    def dim(self) -> int:
        """Length of a vector; reads the weights."""
        return int(self.encode([self.prepare(new_image("RGB", (64, 64)))]).shape[1])

    @property
    def normalization(self) -> Normalization:
        """Features are as the network gives them."""
        return "none"

    @property
    def dynamic(self) -> dict[str, tuple[int, ...]]:
        """Any number of pictures."""
        return dict.fromkeys(self._names, (0,))

    def prepare(self, image: Image) -> Prepared:
        """Resize, crop and normalize as the model's own processor says.

        Returns:
            float32 [3, height, width]; of a processor that gives more than pixels, each array by its name.
        """
        given = self.processor(images=image, return_tensors="np")
        arrays: Arrays = {name: np.asarray(given[name])[0] for name in self._names}
        return arrays if len(arrays) > 1 else np.asarray(arrays["pixel_values"], dtype=np.float32)

    def inputs(self, batch: list[Prepared]) -> Arrays:
        """Pixels float32 [len(batch), 3, height, width], and whatever else the processor gives."""
        rows = [one if isinstance(one, dict) else {"pixel_values": one} for one in batch]
        return {name: np.stack([row[name] for row in rows]) for name in self._names}

    def encode(self, batch: list[Prepared]) -> NDArray[np.float32]:
        """Features, float32 [len(batch), dim]."""
        return models.run(self.network, self.inputs(batch), self.device)

    @cached_property
    def network(self) -> nn.Module:
        """What the processor gives to vectors.

        Raises:
            InputError: the model cannot be read, or is none for pictures.
        """
        with _LOADING:
            model, has_pooler = models.read_model(self.folder, option="image_model")
            if getattr(model, "main_input_name", "") != "pixel_values" and not hasattr(model, "get_image_features"):
                raise InputError(f"image_model must be a network for pictures, {self.folder} is none")
            network = self._pooled(model, has_pooler=has_pooler)
            if self.tuned is not None:
                tuning.apply_tuned(network, self.tuned, base=replace(self, tuned=None).weights)
            return network.to(self.device).eval()

    @cached_property
    def processor(self) -> Any:
        """The model's own image processor."""
        with _LOADING:
            return models.read("AutoImageProcessor", self.folder, option="image_model", backend="pil")

    @cached_property
    def _names(self) -> list[str]:
        given = self.processor(images=new_image("RGB", (64, 64)), return_tensors="np")
        return list(given.keys())

    def _pooled(self, model: Any, *, has_pooler: bool) -> nn.Module:
        if not has_pooler and self.pooling == "pooler":
            raise InputError(f"image_pooling must be 'cls' or 'mean', {self.folder} has no weights for its pooler")
        return VisionNetwork(model, self._names, self.pooling if has_pooler else self.pooling or "cls")


@dataclass(frozen=True)
class JointImageEncoder(VisionEncoder):
    """The image tower of a joint model in transformers' format, one with `get_image_features`: CLIP, SigLIP and kin."""

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes vectors."""
        return models.fingerprint(models.weight_files(self.folder), "joint image", 1)

    @cached_property
    def space(self) -> str:
        """That of the model's words too."""
        return models.joint_space(self.folder) or self.fingerprint

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"image tower of the joint model {self.folder.name} at {self.folder}"

    def _pooled(self, model: Any, *, has_pooler: bool) -> nn.Module:  # noqa: ARG002 - its towers have their own
        return JointNetwork(model, self._names)
