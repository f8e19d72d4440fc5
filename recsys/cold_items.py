"""Place an item that joined after training, from its words, picture, attributes and price; no torch.

The exported tower holds what the GNN learned of content; attribute values and look-alikes pass on their messages
(`graph/cold_tower.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from features.onnx.session import open_network, run_network
from graph.cold_tower import message
from graph.price_bands import PRICE, band_of
from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.bundle_parts import ColdNodes
from recsys.index import dot_products, top_k

COLD_ITEM = "cold_item.onnx"


@dataclass(frozen=True, eq=False)
class ColdItems:
    """Places new items among those of a bundle.

    Args:
        bundle: the bundle.
        neighbors: look-alikes a new item hears from, by each kind of likeness.

    Raises:
        BundleError: the bundle was written without what places new items.
    """

    bundle: Bundle
    neighbors: int = 10

    def __post_init__(self) -> None:
        if self.bundle.cold is None or self.bundle.onnx(COLD_ITEM) is None:
            raise BundleError(
                f"{self.bundle.path}: says nothing of new items (onnx/{COLD_ITEM} or its messages missing)"
            )

    def embed(
        self,
        *,
        text: NDArray[np.float32],
        image: NDArray[np.float32],
        attributes: Mapping[str, Iterable[str]],
        price: float | None = None,
        trust: float | None = None,
    ) -> NDArray[np.float32]:
        """Where a new item stands.

        Args:
            text: float32 [d_text], length 1, from the bundle's text encoder; all 0 where it has no words.
            image: float32 [d_image], likewise.
            attributes: attribute → values; values that no item of the shop shares say nothing.
            price: None where it has none.
            trust: how far to believe its picture, in [0, 1]; None for fully.

        Returns:
            float32 [dim + 1], as a row of `Bundle.item_vectors`: a direction of length 1 (0 where nothing is known),
            then the prior of new items.

        Raises:
            ValueError: a vector has another length than the bundle's.
        """
        for name, vector, known in (
            ("text", text, self.bundle.text_vectors),
            ("image", image, self.bundle.image_vectors),
        ):
            if vector.shape != known.shape[1:]:
                raise ValueError(f"{name} must be [{known.shape[1]}], got {vector.shape}")
        look_alikes, likeness = self._look_alikes(text, image)
        heard = message(
            self._nodes.value_messages,
            self._nodes.item_messages,
            values=self._values(attributes, price),
            look_alikes=look_alikes,
            likeness=likeness,
        )
        place = run_network(
            self._tower,
            text=text[None],
            image=image[None],
            trust=np.array([np.nan if trust is None else trust], dtype=np.float32),
            message=heard[None],
        )[0]
        return np.append(place, np.float32(self._nodes.prior))

    def _values(self, attributes: Mapping[str, Iterable[str]], price: float | None) -> NDArray[np.int64]:
        rows = self._nodes.values
        asked = {(name, value) for name, values in attributes.items() for value in values}
        if price is not None:
            band = band_of(price, [value for name, value in rows if name == PRICE])
            asked |= {(PRICE, band)} if band is not None else set()
        return np.array(sorted(rows[pair] for pair in asked if pair in rows), dtype=np.int64)

    def _look_alikes(
        self, text: NDArray[np.float32], image: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found: list[NDArray[np.int64]] = []
        cosines: list[NDArray[np.float32]] = []
        for vector, known in ((text, self.bundle.text_vectors), (image, self.bundle.image_vectors)):
            if not vector.any():
                continue
            cosine = dot_products(known, vector)
            best, of_best = top_k(cosine, self.neighbors, cosine <= 0)
            found.append(best)
            cosines.append(of_best)
        if not found:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return np.concatenate(found), np.concatenate(cosines)

    @property
    def _nodes(self) -> ColdNodes:
        assert self.bundle.cold is not None  # noqa: S101 - checked when this was made
        return self.bundle.cold

    @cached_property
    def _tower(self) -> onnxruntime.InferenceSession:
        path = self.bundle.onnx(COLD_ITEM)
        assert path is not None  # noqa: S101 - checked when this was made
        return open_network(path)
