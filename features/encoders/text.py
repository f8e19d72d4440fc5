"""Words to vectors, through a transformer read by `transformers`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.encoders import bundled, models, tuning
from features.encoders.config import BUNDLED, EncoderConfig, Pooling, Truncation
from features.encoders.protocol import Arrays, Kind, Normalization
from features.encoders.statement import Statement, statement_of
from features.encoders.tokens import rectangle, token_rows
from features.errors import InputError


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """Token vectors to one a text.

    Args:
        hidden: float [n, tokens, dim].
        mask: int64 [n, tokens], 1 where a token counts; the filling may stand on the left or on the right.
        how: their mean, or the first or the last that counts.
    """
    if how == "mean":
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    at = torch.arange(mask.shape[1], device=mask.device)
    first, last = torch.where(mask > 0, at, mask.shape[1] - 1).amin(1), (mask * at).amax(1)
    chosen = first if how == "cls" else last
    return hidden.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, hidden.shape[2]))[:, 0]


class TextNetwork(nn.Module):
    """Tokens to one vector a text: a joint model's projected text features, any other's last hidden states, pooled.

    Args:
        model: of `transformers`; of one that also writes, the part that reads.
        pooling: of token vectors; not used by joint models.
        masked: whether the model is told which tokens are filling; SigLIP was trained without.
    """

    def __init__(self, model: Any, pooling: Pooling, *, masked: bool = True) -> None:
        super().__init__()
        self.joint = hasattr(model, "get_text_features")
        self.model = model.get_encoder() if model.config.is_encoder_decoder and not self.joint else model
        self.pooling, self.masked = pooling, masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [n, tokens] and int64 [n, tokens] to float [n, dim]."""
        told = {"attention_mask": attention_mask} if self.masked else {}
        if self.joint:
            given = self.model.get_text_features(input_ids=input_ids, **told)
            vectors: Tensor = given if isinstance(given, Tensor) else given.pooler_output
            return vectors
        return pool(self.hidden(input_ids, attention_mask), attention_mask, self.pooling)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Last hidden states, float [n, tokens, dim]; not of a joint model."""
        told = {"attention_mask": attention_mask} if self.masked else {}
        states: Tensor = self.model(input_ids=input_ids, **told).last_hidden_state
        return states


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder; its weights are read when they are first needed.

    Args:
        folder: model and tokenizer in transformers' format, weights as safetensors.
        max_tokens: longer texts are cut.
        device: where it runs.
        pooling: of token vectors; None as the folder says.
        truncation: what is kept of longer texts.
        document_prompt: put before texts of the catalog; None as the folder says.
        query_prompt: put before search texts; None as the folder says.
        tuned: file of what the network has learned since.
    """

    folder: Path
    max_tokens: int
    device: torch.device
    pooling: Pooling | None = None
    truncation: Truncation = "head"
    document_prompt: str | None = None
    query_prompt: str | None = None
    tuned: Path | None = None

    @classmethod
    def of(cls, config: EncoderConfig) -> TextEncoder:
        """The encoder that a configuration names.

        Raises:
            InputError: its model cannot be found or used.
        """
        name = config.text_model
        return cls(
            bundled.text_folder()
            if name == BUNDLED
            else models.folder_of(name, option="text_model", download=config.download),
            config.max_tokens,
            models.device_of(config.device),
            config.text_pooling,
            config.truncation,
            config.document_prompt,
            config.query_prompt,
            tuning.tuned_file(config.tuned, tuning.TEXT_FILE),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes vectors."""
        set_by_user = [
            (field.name, getattr(self, field.name))
            for field in fields(self)[3:]  # what was left at its default is said by the folder, whose files are hashed
            if field.name != "tuned" and getattr(self, field.name) != field.default
        ]
        files = models.weight_files(self.folder) + ([self.tuned] if self.tuned else [])
        return models.fingerprint(files, "text", 1, self.max_tokens, *set_by_user)

    @cached_property
    def weights(self) -> str:
        """Names the weights alone, however they are used."""
        return models.fingerprint(models.weight_files(self.folder) + ([self.tuned] if self.tuned else []))

    @cached_property
    def space(self) -> str:
        """That of the joint model, or its own."""
        return (None if self.tuned else models.joint_space(self.folder)) or self.fingerprint

    @property
    def about(self) -> str:
        """What it is, in words."""
        return f"text model {self.folder.name} at {self.folder}, at most {self.max_tokens} tokens"

    @cached_property
    def dim(self) -> int:
        """Length of a vector; reads the weights."""
        return int(self.encode(["a"]).shape[1])

    @property
    def normalization(self) -> Normalization:
        """Length 1 where the folder says so."""
        return "unit" if self.statement.unit else "none"

    @property
    def dynamic(self) -> dict[str, tuple[int, ...]]:
        """Any number of texts, and of tokens unless the model wants all of them filled up."""
        axes = (0,) if self.fixed else (0, 1)
        return {"input_ids": axes, "attention_mask": axes}

    @cached_property
    def statement(self) -> Statement:
        """What the folder says about its use.

        Raises:
            InputError: it asks for layers or a pooling that are not known here.
        """
        return statement_of(self.folder)

    def prompt(self, kind: Kind) -> str:
        """What is put before a text."""
        own = self.document_prompt if kind == "document" else self.query_prompt
        said = self.statement.document_prompt if kind == "document" else self.statement.query_prompt
        return said if own is None else own

    def tokens(self, texts: list[str], kind: Kind = "document") -> list[list[int]]:
        """Token numbers of each text behind its prompt, cut at the limit. Not for several threads at once."""
        prompted = [self.prompt(kind) + text for text in texts] if self.prompt(kind) else texts
        return token_rows(self.tokenizer, prompted, limit=self.limit, truncation=self.truncation)

    def inputs(self, rows: list[list[int]]) -> Arrays:
        """Inputs of the network for rows of `tokens`, filled up to one length."""
        fill = self.tokenizer.pad_token_id
        ids, mask = rectangle(rows, fill=0 if fill is None else fill, width=self.limit if self.fixed else 0)
        return {"input_ids": ids, "attention_mask": mask}

    def encode(self, texts: list[str], kind: Kind = "document") -> NDArray[np.float32]:
        """Vectors of one batch of texts, float32 [len(texts), dim]; a text without a single token gets zeros."""
        rows = self.tokens(texts, kind)
        return self.finish(models.run(self.network, self.inputs(rows), self.device), rows)

    def finish(self, vectors: NDArray[np.float32], rows: list[list[int]]) -> NDArray[np.float32]:
        """The network's vectors as the folder wants them: as they are, or of length 1."""
        vectors = np.where(np.array([bool(row) for row in rows])[:, None], vectors, np.float32(0))
        if self.normalization == "unit":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return vectors

    @cached_property
    def tokenizer(self) -> Any:
        """Of `transformers`."""
        return models.read("AutoTokenizer", self.folder, option="text_model")

    @cached_property
    def network(self) -> TextNetwork:
        """Tokens and mask to vectors, float32.

        Raises:
            InputError: the model cannot be read.
        """
        statement = self.statement  # tells what is wrong with the folder before any weight is read
        if not statement.pools_prompt and (self.prompt("document") or self.prompt("query")):
            raise InputError(
                f"text_model must pool its prompts too, {self.folder} leaves them out; to use it without any, "
                'set encoders.document_prompt = "" and encoders.query_prompt = ""'
            )
        model, _ = models.read_model(self.folder, option="text_model")
        if hasattr(model.config, "use_cache"):
            model.config.use_cache = False
        masked = "attention_mask" in self.tokenizer.model_input_names
        network = TextNetwork(model, self.pooling or statement.pooling, masked=masked)
        if self.tuned is not None:
            tuning.apply_tuned(network, self.tuned, base=replace(self, tuned=None).weights)
        return network.to(self.device).eval()

    @cached_property
    def fixed(self) -> bool:
        """Whether every text is filled up to the limit, as SigLIP was trained."""
        return str(self._config.model_type).startswith("siglip")

    @cached_property
    def limit(self) -> int:
        """Most tokens of a text: the setting, the tokenizer's or the model's own."""
        about = self._config.get_text_config()
        positions = int(getattr(about, "max_position_embeddings", None) or self.max_tokens)
        if "roberta" in about.model_type or about.model_type in ("camembert", "mpnet"):
            positions -= 2  # theirs count from behind the filling's number
        return min(self.max_tokens, int(self.tokenizer.model_max_length), positions)

    @cached_property
    def _config(self) -> Any:
        return models.read("AutoConfig", self.folder, option="text_model")
