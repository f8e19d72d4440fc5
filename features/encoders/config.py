"""Which encoders read a catalog, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from features.section import Section

BUNDLED = "bundled"
"""The name of the weights that come with the installation."""

Pooling = Literal["mean", "cls", "last"]
"""How the vectors of a text's tokens become one: their mean, the first one, or the last one."""
PatchPooling = Literal["mean", "cls", "pooler"]
"""How the vectors of a picture's patches become one: their mean, the first token, or the network's own pooler."""
ItemPictures = Literal["mean", "max", "first"]
"""How the vectors of an item's pictures become one: their mean, the largest of each number, or the first one alone."""
Truncation = Literal["head", "head+tail"]
"""What is kept of a text that is too long: its beginning, or half of it from the beginning and half from the end."""
Tuning = Literal["frozen", "last_blocks", "adapters", "full"]
"""What of a network is trained further: nothing, its last blocks, low-rank additions beside what stays, all of it."""
EngineName = Literal["auto", "torch", "float16", "bfloat16", "onnx"]
"""What runs the networks over a catalog."""


class ReviewConfig(Section):
    """Which reviews stand for an item."""

    most: PositiveInt = 20
    """Reviews of an item that are read at most."""

    first: Literal["newest", "longest"] = "newest"
    """Which of them, where there are more."""


class EncoderConfig(Section):
    """How words and pictures become vectors. The defaults read nothing from the network."""

    text_model: str = BUNDLED
    """Text encoder: "bundled" (MiniLM-L6, 384-d), a local folder in transformers' format, or a hub name "owner/name".
    A joint model (CLIP, SigLIP) is used through its text tower."""

    image_model: str = BUNDLED
    """Image encoder: "bundled" (EfficientNet-Lite0, 1280-d), a local folder in timm's or transformers' format, or a
    hub name "owner/name". A joint model (CLIP, SigLIP) is used through its image tower; named for texts and pictures
    alike, it puts both into one space."""

    tuned: str | None = None
    """Folder of a match model (`recsys match fit`) that has tuned its text network, its picture network or both: what
    they have learned is added to the models named here, which must be those it began with."""

    download: bool = False
    """Whether a hub name may be fetched from the hub; otherwise it must be in the hub's cache on this machine."""

    text_pooling: Pooling | None = None
    """How token vectors become one: "mean", "cls" (first token) or "last" (last token). None: as the folder says
    (1_Pooling/config.json), else "last" for models that write texts and "mean" for all others."""

    document_prompt: str | None = None
    """Put before every text of the catalog, such as "passage: ". None: what the folder says, "" nothing."""

    query_prompt: str | None = None
    """Put before every search text, such as "query: ". None: what the folder says, "" nothing."""

    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 128
    """Longer texts are cut here, or at the model's own limit if that is lower."""

    truncation: Truncation = "head"
    """What is kept of longer texts: "head", or "head+tail", half of the tokens from each end."""

    image_pooling: PatchPooling | None = None
    """How a transformers vision model's tokens become one: "pooler" (its own), "cls" (first token) or "mean" (over the
    patches). None: the model's pooler where it has one, else "cls". timm networks and joint models pool by
    themselves."""

    item_pictures: ItemPictures = "mean"
    """What stands for an item with several pictures: the "mean" of their vectors, the "max" of each number over them
    (what any one of them shows; for features that are not negative, as those of convolutions), or the "first" that can
    be read, its cover. Each picture's vector has length 1 before."""

    engine: EngineName = "auto"
    """What runs the networks over a catalog: "torch" (float32, as they are), "float16" or "bfloat16" (torch, half the
    bits), "onnx" (onnxruntime on the CPU). "auto" takes the fastest whose vectors stay those of "torch", to a cosine of
    0.9999 on a sample of the catalog; one that is named and does not keep them is an error."""

    text_tokens: PositiveInt | None = None
    """Tokens encoded at once, padding included; a batch holds as many texts of about one length as fit. None: what
    suits the device."""

    image_batch: PositiveInt | None = None
    """Pictures encoded at once. None: what suits the device."""

    threads: PositiveInt | None = None
    """Batches encoded side by side on a CPU, one thread each. None: as many as torch would use."""

    decode_threads: PositiveInt | None = None
    """Threads that read and decode pictures while the network works on those before. None: one for each core."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run; "auto" takes CUDA if present."""

    reviews: ReviewConfig = ReviewConfig()
    """Which reviews are encoded."""


AS_INSTALLED = EncoderConfig()
"""What comes with the installation."""
