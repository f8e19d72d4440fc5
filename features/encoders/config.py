"""Which encoders read a catalog, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from features.section import Section

BUNDLED = "bundled"
"""The name of the weights that come with the installation."""


class EncoderConfig(Section):
    """How words and pictures become vectors. The defaults read nothing from the network."""

    text_model: str = BUNDLED
    """Text encoder: "bundled" (MiniLM-L6, 384-d), a local folder in transformers' format, or a hub name "owner/name",
    which is downloaded. A joint model (CLIP, SigLIP) is used through its text tower."""

    image_model: str = BUNDLED
    """Image encoder: "bundled" (EfficientNet-Lite0, 1280-d), a local folder in timm's or transformers' format, or a
    hub name "owner/name", which is downloaded. A joint model (CLIP, SigLIP) is used through its image tower."""

    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 128
    """Longer texts are cut here, or at the model's own limit if that is lower."""

    text_batch: PositiveInt = 32
    """Texts encoded at once; they are sorted by length, so a batch is hardly padded."""

    image_batch: PositiveInt = 32
    """Pictures encoded at once."""

    decode_threads: PositiveInt = 2
    """Threads that read and decode pictures while the model works on the batch before."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run; "auto" takes CUDA if present."""
