"""Words to vectors, through a transformer read by `transformers`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from features.encoders import bundled, models
from features.encoders.config import BUNDLED, EncoderConfig
from features.errors import InputError

_PLAIN_MODULES = {"Transformer", "Pooling", "Normalize"}


def pooling_of(folder: Path) -> str:
    """How a folder's token vectors become one: "mean" or "cls"; "mean" where the folder does not say.

    Raises:
        InputError: the folder asks for layers or a pooling that are not known here.
    """
    modules = folder / "modules.json"
    if modules.is_file():
        kinds = {str(module["type"]).rpartition(".")[2] for module in json.loads(modules.read_text())}
        if kinds - _PLAIN_MODULES:
            raise InputError(
                f"text_model must end in pooling alone, {folder} also has {sorted(kinds - _PLAIN_MODULES)}"
            )
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    settings = json.loads(file.read_text())
    asked = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(asked) != 1 or asked[0] not in known:
        raise InputError(f"text_model's pooling must be one of {sorted(known)}, {file} asks for {asked}")
    return known[asked[0]]


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder; its weights are read when the first text is encoded.

    A joint model (one with `get_text_features`) gives its projected text features; any other gives its last hidden
    states, averaged over the tokens or taken at the first one as `pooling_of` says.

    Args:
        folder: model and tokenizer in transformers' format, weights as safetensors.
        max_tokens: longer texts are cut.
        device: where it runs.
    """

    folder: Path
    max_tokens: int
    device: torch.device

    @classmethod
    def of(cls, config: EncoderConfig) -> TextEncoder:
        """The encoder that a configuration names.

        Raises:
            InputError: its model cannot be found or used.
        """
        bundle = config.text_model == BUNDLED
        folder = bundled.text_folder() if bundle else models.folder_of(config.text_model, option="text_model")
        if not list(folder.glob("*.safetensors")):
            raise InputError(f"text_model must have its weights as *.safetensors, {folder} has none")
        return cls(folder, config.max_tokens, models.device_of(config.device))

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        return models.fingerprint(models.weight_files(self.folder), "text", 1, self.max_tokens)

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"text model {self.folder.name} at {self.folder}, at most {self.max_tokens} tokens"

    @cached_property
    def dim(self) -> int:
        """Length of a vector; reads the weights."""
        return int(self.encode(["a"]).shape[1])

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of one batch of texts, float32 [len(texts), dim]."""
        model, tokenizer, pooling = self._loaded
        tokens = tokenizer(
            texts,
            padding="max_length" if model.config.model_type.startswith("siglip") else True,
            truncation=True,
            max_length=self._limit(model, tokenizer),
            return_tensors="pt",
        ).to(self.device)
        if hasattr(model, "get_text_features"):
            given = model.get_text_features(**tokens)
            pooled = given if isinstance(given, torch.Tensor) else given.pooler_output
        else:
            hidden = model(**tokens).last_hidden_state
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors

    def _limit(self, model: Any, tokenizer: Any) -> int:
        text_config = model.config.get_text_config()
        positions = getattr(text_config, "max_position_embeddings", self.max_tokens)
        return min(self.max_tokens, int(tokenizer.model_max_length), int(positions))

    @cached_property
    def _loaded(self) -> tuple[Any, Any, str]:
        library = models.transformers()
        pooling = pooling_of(self.folder)
        try:
            model = library.AutoModel.from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
            tokenizer = library.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"text_model cannot be read from {self.folder}: {error}") from error
        return model.to(self.device).eval(), tokenizer, pooling
