"""An item as it is now: what is shown of it, and where its words, its picture and its attributes place it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.cold_items import ColdItems
from recsys.search.encoding import TOWERS, CannotSearch, Encoding

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]


class CannotPlace(InputError):  # noqa: N818 - reads as what it is
    """This bundle lacks what a new item is placed by; the message says what, and why."""


@dataclass(frozen=True, eq=False)
class Placed:
    """An item as it is now.

    Args:
        display: what is shown, with the keys `DISPLAY_FIELDS`.
        vectors: "text" and "image", and in the space that both share "match_text" and "match_image": float32 [d] each,
            0 where it has no words, or no picture; what is not named is as it was.
        place: float32 [dim + 1], as a row of `Bundle.item_vectors`; None for an item that training knows, which keeps
            its place: what its users did says more of it than new words.
    """

    display: Mapping[str, Any]
    vectors: Mapping[str, Floats]
    place: Floats | None = None


class Placer:
    """Encodes and places items, by the networks of one bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        encoding: its query encoders.
    """

    def __init__(self, bundle: Bundle, encoding: Encoding) -> None:
        self._bundle = bundle
        self._encoding = encoding

    @property
    def encoders(self) -> str:
        """Changes with the encoders: vectors made under the same name are the same."""
        return self._encoding.fingerprint

    def encode(self, display: Mapping[str, Any], picture: Image | None) -> dict[str, Floats]:
        """Vectors of an item's words and picture; 0 where it has none, or the bundle has no encoder for them.

        Args:
            display: title and description are its words.
            picture: RGB; None for none.
        """
        words = ". ".join(part for part in (display.get("title"), display.get("description")) if part).strip()
        text = np.zeros(self._bundle.text_vectors.shape[1], dtype=np.float32)
        image = np.zeros(self._bundle.image_vectors.shape[1], dtype=np.float32)
        if words and self._encoding.has("text"):
            text = self._encoding.items([words])[0]
        if picture is not None and self._encoding.has("image"):
            image = self._encoding.pictures([picture])[0]
        return {"text": text, "image": image}

    def placed(self, item_id: str, display: Mapping[str, Any], vectors: Mapping[str, Floats]) -> Placed:
        """An item with its place among the others.

        Args:
            item_id: outside id.
            display: what is shown.
            vectors: "text" and "image".

        Raises:
            CannotPlace: the item is new, and the bundle says nothing of new items.
        """
        shared = {}
        if self._encoding.has_towers():
            for kind in TOWERS:
                vector = vectors[kind]
                one = self._encoding.shared(kind, vector[None])[0] if vector.any() else None
                width = self._match_width
                shared[f"match_{kind}"] = np.zeros(width, dtype=np.float32) if one is None else one
        place = None
        if item_id not in self._bundle.items:
            self.require()
            price = display.get("price")
            place = self._cold.embed(
                text=vectors["text"], image=vectors["image"], attributes=display["attributes"], price=price
            )
        return Placed(display, {**vectors, **shared}, place)

    def require(self) -> None:
        """Insist on being able to place new items.

        Raises:
            CannotPlace: the bundle lacks an encoder of words or the tower of new items.
        """
        try:
            _ = self._cold
            self._encoding.require("text")
        except (BundleError, CannotSearch) as error:
            raise CannotPlace(f"a new item cannot be placed: {error}") from error

    @cached_property
    def _cold(self) -> ColdItems:
        return ColdItems(self._bundle)

    @cached_property
    def _match_width(self) -> int:
        probe = np.ones((1, self._bundle.text_vectors.shape[1]), dtype=np.float32)
        return int(self._encoding.shared("text", probe).shape[1])
