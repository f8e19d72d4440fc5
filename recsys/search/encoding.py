"""A query's words and pictures as vectors, by the networks of the bundle, each opened when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.bundle_files import check_file

if TYPE_CHECKING:
    import onnxruntime
    from PIL.Image import Image

    from features.onnx.encoders import ImageQueries, TextQueries

T = TypeVar("T")
ENCODERS = {"text": ("text_encoder.onnx", "words"), "image": ("image_encoder.onnx", "pictures")}
TOWERS = {"text": "match_text.onnx", "image": "match_image.onnx"}


class CannotSearch(InputError):  # noqa: N818 - reads as what it is
    """This bundle lacks what the query needs; the message says what, and why."""


class Encoding:
    """The networks of one bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        threads: that one run of a network may use.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self._bundle, self._threads = bundle, threads
        self._opened: dict[str, object] = {}
        self._lock = threading.Lock()
        about = bundle.onnx("encoders.json")
        self._about = {} if about is None else orjson.loads(about.read_bytes())

    def has(self, kind: str) -> bool:
        """Whether "text" or "image" queries can be encoded."""
        return self._about.get(kind) is not None

    def has_towers(self) -> bool:
        """Whether words and pictures can be compared with one another."""
        return all(self._bundle.onnx(name) is not None for name in TOWERS.values())

    def require(self, kind: str) -> None:
        """Insist on an encoder.

        Raises:
            CannotSearch: the bundle has none.
        """
        if not self.has(kind):
            file, what = ENCODERS[kind]
            why = (
                f"its shop had no {what} when it was fitted, or their encoder could not be exported"
                if self._about
                else "it was written by a version that exported no encoders: fit the shop again"
            )
            raise CannotSearch(f"bundle {self._bundle.name} cannot encode {what} (onnx/{file} is missing): {why}")

    def words(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of texts, float32 [n, d_text], rows of length 1; (0, d_text) for none."""
        if not texts:
            return np.zeros((0, self._bundle.text_vectors.shape[1]), dtype=np.float32)
        return self._text().encode(texts)

    def strange_letters(self, texts: list[str]) -> tuple[int, int]:
        """Letters of texts that their encoder does not know, and all of them."""
        return self._text().strange_letters(texts)

    def items(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of items' words, as the shop's own items were encoded, float32 [n, d_text]."""
        return self._text().encode(texts, document=True)

    @property
    def fingerprint(self) -> str:
        """Names the encoders; vectors made under another name are not comparable."""
        return "/".join((self._about.get(kind) or {}).get("encoder", "-") for kind in ENCODERS)

    def pictures(self, images: list[Image]) -> NDArray[np.float32]:
        """Vectors of RGB pictures, float32 [n, d_image], rows of length 1; (0, d_image) for none."""
        if not images:
            return np.zeros((0, self._bundle.image_vectors.shape[1]), dtype=np.float32)
        return self._image().encode(images)

    def shared(self, kind: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of words ("text") or pictures ("image") in the space they share, float32 [n, dim]."""
        from features.onnx.session import run_network

        return run_network(self._tower(kind), vector=vectors)

    def warm(self) -> None:
        """Open everything there is now, what scores new listings too, as they are encoded here."""
        _ = self._bundle.match
        if self.has("text"):
            self._text()
        if self.has("image"):
            self._image()
        for kind in TOWERS if self.has_towers() else ():
            self._tower(kind)

    def _text(self) -> TextQueries:
        from features.onnx.encoders import TEXT, TOKENIZER, EncodersSpec, QueryEncoders

        def opened() -> TextQueries:
            self.require("text")
            folder = self._checked(TOKENIZER, TEXT).parent
            spec = EncodersSpec.model_validate({"text": self._about["text"], "image": None})
            encoders = QueryEncoders.of(folder, spec, threads=self._threads)
            assert encoders.text is not None  # noqa: S101 - the spec has one
            return encoders.text

        return self._once("text", opened)

    def _image(self) -> ImageQueries:
        from features.onnx.encoders import IMAGE, EncodersSpec, QueryEncoders

        def opened() -> ImageQueries:
            self.require("image")
            folder = self._checked(IMAGE).parent
            spec = EncodersSpec.model_validate({"text": None, "image": self._about["image"]})
            encoders = QueryEncoders.of(folder, spec, threads=self._threads)
            assert encoders.image is not None  # noqa: S101 - the spec has one
            return encoders.image

        return self._once("image", opened)

    def _tower(self, kind: str) -> onnxruntime.InferenceSession:
        from features.onnx.session import open_network

        return self._once(f"tower {kind}", lambda: open_network(self._checked(TOWERS[kind]), threads=self._threads))

    def _checked(self, *names: str) -> Path:
        """The last of some files of `onnx/`; none may have been replaced since the bundle was opened."""
        for name in names:
            check_file(self._bundle.path, f"onnx/{name}", self._bundle.manifest.files[f"onnx/{name}"], verify=True)
        return self._bundle.path / "onnx" / names[-1]

    def _once(self, name: str, opened: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = opened()
            return self._opened[name]  # type: ignore[return-value]
