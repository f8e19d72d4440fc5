"""The text and image encoders as the service runs them: the vectors of a query, without torch.

A folder holds `encoders.json` (what is there and how inputs are prepared), `text_encoder.onnx` with `tokenizer.json`,
and `image_encoder.onnx`; either may be missing. `features.onnx.export` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import PositiveInt, ValidationError
from tokenizers import Tokenizer

from features.errors import InputError
from features.onnx.picture import PictureSpec, normalized, pixels
from features.onnx.session import open_network, run_network
from features.section import Section
from features.vectors.rows import unit_rows

SPEC, TEXT, TOKENIZER, IMAGE = "encoders.json", "text_encoder.onnx", "tokenizer.json", "image_encoder.onnx"
UNKNOWN = ("[UNK]", "<unk>")
"""Tokens that stand for whatever a tokenizer has no other for; one of bytes has none."""


class TextSpec(Section):
    """How texts become tokens."""

    encoder: str
    """Fingerprint of the encoder that was exported."""
    dim: PositiveInt
    """Length of a vector."""
    prompt: str
    """Put before a text that is searched with."""
    document_prompt: str = ""
    """Put before the words of an item."""
    max_tokens: PositiveInt
    """Longer texts are cut."""
    truncation: Literal["head", "head+tail"]
    """What is kept of longer texts: the beginning, or both ends."""
    pad_id: int
    """The token that fills short texts of a batch."""
    fixed_length: bool
    """Whether every text is filled up to `max_tokens`, as SigLIP was trained."""


class ImageSpec(Section):
    """How pictures become pixels."""

    encoder: str
    """Fingerprint of the encoder that was exported."""
    dim: PositiveInt
    """Length of a vector."""
    picture: PictureSpec
    """Resizing, cropping, normalizing."""


class EncodersSpec(Section):
    """What `encoders.json` says."""

    text: TextSpec | None
    image: ImageSpec | None


@dataclass(frozen=True)
class TextQueries:
    """The text encoder of a shop; safe to use from several threads."""

    spec: TextSpec
    tokenizer: Tokenizer
    network: onnxruntime.InferenceSession

    def encode(self, texts: list[str], *, document: bool = False) -> NDArray[np.float32]:
        """Vectors of texts, float32 [len(texts), dim], rows of length 1.

        Args:
            texts: none of them blank.
            document: whether they are an item's own words, not what is searched with.

        Raises:
            ValueError: there is no text, or one is blank.
        """
        blank = [row for row, text in enumerate(texts) if not text.strip()]
        if not texts or blank:
            raise ValueError(
                f"a text to encode must not be blank, {f'text {blank[0]} is' if blank else 'none is given'}"
            )
        prompt = self.spec.document_prompt if document else self.spec.prompt
        prompted = [prompt + text.strip() for text in texts]
        tokens = [self._cut(encoding.ids) for encoding in self.tokenizer.encode_batch(prompted)]
        width = max(1, self.spec.max_tokens if self.spec.fixed_length else 0, *map(len, tokens))
        ids = np.full((len(tokens), width), self.spec.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, listed in enumerate(tokens):
            ids[row, : len(listed)] = listed
            mask[row, : len(listed)] = 1
        return unit_rows(run_network(self.network, input_ids=ids, attention_mask=mask))

    def strange_letters(self, texts: list[str]) -> tuple[int, int]:
        """How many letters of some texts the encoder has no token for, as of a script that it was not made for; and how
        many letters there are, as far as it reads.
        """
        unknown = {self.tokenizer.token_to_id(name) for name in UNKNOWN} - {None}
        strange = letters = 0
        for text, encoding in zip(texts, self.tokenizer.encode_batch(texts), strict=True):
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                of_token = sum(map(str.isalpha, text[start:end]))
                letters += of_token
                strange += of_token if token in unknown else 0
        return strange, letters

    def _cut(self, tokens: list[int]) -> list[int]:
        """Both ends of what is too long; the tokenizer itself cuts where the beginning alone is kept."""
        most = self.spec.max_tokens
        return tokens if len(tokens) <= most else tokens[: most - most // 2] + tokens[len(tokens) - most // 2 :]


@dataclass(frozen=True)
class ImageQueries:
    """The image encoder of a shop; safe to use from several threads."""

    spec: ImageSpec
    network: onnxruntime.InferenceSession

    def encode(self, images: list[Image]) -> NDArray[np.float32]:
        """Vectors of RGB pictures, float32 [len(images), dim], rows of length 1."""
        batch = np.stack([pixels(image, self.spec.picture) for image in images])
        (given,) = self.network.get_inputs()
        return unit_rows(run_network(self.network, **{given.name: normalized(batch, self.spec.picture)}))


@dataclass(frozen=True)
class QueryEncoders:
    """Whichever encoders a folder holds."""

    text: TextQueries | None
    image: ImageQueries | None

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> QueryEncoders:
        """Open a folder's encoders.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            spec = EncodersSpec.model_validate_json((folder / SPEC).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{folder / SPEC}: cannot be read: {error}") from error
        return cls.of(folder, spec, threads=threads)

    @classmethod
    def of(cls, folder: Path, spec: EncodersSpec, *, threads: int = 1) -> QueryEncoders:
        """Open the encoders that `spec` says a folder holds.

        Raises:
            InputError: a file is missing or damaged.
        """
        text = image = None
        if spec.text is not None:
            tokenizer = _tokenizer(folder / TOKENIZER, spec.text)
            text = TextQueries(spec.text, tokenizer, open_network(folder / TEXT, threads=threads))
        if spec.image is not None:
            image = ImageQueries(spec.image, open_network(folder / IMAGE, threads=threads))
        return cls(text, image)


def _tokenizer(path: Path, spec: TextSpec) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        raise InputError(f"{path}: cannot be read as a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if spec.truncation == "head":
        tokenizer.enable_truncation(spec.max_tokens)
    return tokenizer
