"""An item as it is now: what is shown of it, and where its words, its picture and its attributes place it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.cold_items import ColdItems
from recsys.search.encoding import CannotSearch, Encoding

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]


class CannotPlace(InputError):  # noqa: N818 - reads as what it is
    """This bundle lacks what a new item is placed by; the message says what, and why."""


def words_of(display: Mapping[str, Any]) -> str:
    """An item's words as one text, as the shop's own items were encoded; "" where it has none."""
    return ". ".join(part for part in (display["title"], display["description"]) if part).strip()


@dataclass(frozen=True, eq=False)
class Placed:
    """An item as it is now.

    Args:
        display: what is shown, with the keys `DISPLAY_FIELDS`.
        vectors: "text" and "image", and in the space that both share "match_text" and "match_image": float32 [d] each,
            0 where it has no words, or no picture; what is not named is as the bundle has it.
        place: float32 [dim + 1], as a row of `Bundle.item_vectors`; None for an item that training knows, which keeps
            its place: what its users did says more of it than new words.
        match_score: how well its picture and its words belong together, in [0, 1], NaN where that is not known; None
            for an item whose words and picture are as the bundle has them, which keeps its score.
    """

    display: Mapping[str, Any]
    vectors: Mapping[str, Floats]
    place: Floats | None = None
    match_score: float | None = None


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

    def words(self, displays: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """Vectors of items' words (title, description), float32 [n, d_text]; 0 where there are none, or no encoder."""
        texts = [words_of(display) for display in displays]
        vectors = np.zeros((len(texts), self._bundle.text_vectors.shape[1]), dtype=np.float32)
        said = [place for place, text in enumerate(texts) if text]
        if said and self._encoding.has("text"):
            vectors[said] = self._encoding.items([texts[place] for place in said])
        return vectors

    def picture(self, picture: Image | None) -> Floats:
        """Vector of an item's RGB picture, float32 [d_image]; 0 where there is none, or no encoder."""
        if picture is None or not self._encoding.has("image"):
            return np.zeros(self._bundle.image_vectors.shape[1], dtype=np.float32)
        vector: Floats = self._encoding.pictures([picture])[0]
        return vector

    def placed(self, item_id: str, display: Mapping[str, Any], vectors: Mapping[str, Floats]) -> Placed:
        """An item with its place among the others.

        Args:
            item_id: outside id.
            display: what is shown.
            vectors: "text" and "image", as `words` and `picture` make them; of an item that training knows, those that
                are new.

        Raises:
            CannotPlace: the item is new, and the bundle says nothing of new items.
        """
        shared: dict[str, Floats] = {}
        for kind, vector in vectors.items() if self._encoding.has_towers() else ():
            shared[f"match_{kind}"] = (
                self._encoding.shared(kind, vector[None])[0]
                if vector.any()
                else np.zeros(self._match_width, dtype=np.float32)
            )
        score = self.match_score(item_id, vectors)
        place = None
        if item_id not in self._bundle.items:
            self.require()
            place = self._cold.embed(
                text=vectors["text"],
                image=vectors["image"],
                attributes=display["attributes"],
                price=display["price"],
                trust=None if score is None or np.isnan(score) else score,
            )
        return Placed(display, {**vectors, **shared}, place, score)

    def match_score(self, item_id: str, vectors: Mapping[str, Floats]) -> float | None:
        """How well an item's picture and words belong together, by the match model of the fit.

        Args:
            item_id: outside id.
            vectors: as of `placed`.

        Returns:
            In [0, 1]; NaN where words or picture are missing, or the bundle has no match model; None where nothing is
            new, so that the bundle's own score holds.

        Raises:
            BundleError: the match model cannot be read.
        """
        if not vectors:
            return None
        bundle = self._bundle
        if bundle.match is None:
            return float("nan")
        row = bundle.items.idx(item_id) if item_id in bundle.items else None
        own = {} if row is None else {"text": bundle.text_vectors[row], "image": bundle.image_vectors[row]}
        both = {**own, **vectors}
        return float(bundle.match.score(both["text"][None], both["image"][None])[0])

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
