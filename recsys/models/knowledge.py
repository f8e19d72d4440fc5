"""What a model may know of users and items beside the events, and each part of it taken away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.catalog import Attributes, Catalog
from features.checkpoint import fingerprint
from features.encoders.embeddings import Embeddings, ItemVectors
from features.fusion import fuse
from features.interactions import Interactions
from features.match.scores import MatchScores
from graph.content import centered, item_content
from graph.neighbors import Neighbors, top_neighbors

Part = Literal["image", "text", "audio", "match", "attributes", "item_graph", "other_behavior"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What can be taken away."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Item features, facts and their trust.

    Args:
        catalog: the items with their attributes and prices.
        user_attributes: facts of the users.
        modalities: vectors by "text", "image" or "audio"; a modality that no item has is absent.
        match: agreement of picture and words; NaN where unknown.
        item_graph: whether items may be joined to those that look, read or sound alike.
        other_behavior: events beside those that are to be predicted (`recsys.other_behavior`), over the catalog's
            items and the users of the data set; None where none are told.

    Raises:
        ValueError: a modality, or the match scores, have not a row an item, or other behavior is of other items.
    """

    catalog: Catalog
    user_attributes: Attributes
    modalities: dict[str, Embeddings]
    match: MatchScores
    item_graph: bool = True
    other_behavior: Interactions | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(one) for name, one in self.modalities.items()} | {"match": len(self.match)}
        for name, length in lengths.items():
            if length != len(self.catalog):
                raise ValueError(f"{name} must have a row an item ({len(self.catalog)}), it has {length}")
        if self.other_behavior is not None and self.other_behavior.items != self.catalog.items:
            raise ValueError("other behavior and catalog must share one item vocabulary")

    @classmethod
    def of_ids(cls, catalog: Catalog) -> Knowledge:
        """Nothing but who is who."""
        return cls(catalog, Attributes.of([]), {}, MatchScores.unknown(len(catalog)))

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is there to be taken away."""
        there: dict[Part, bool] = {
            "match": bool(self.match.known.any()),
            "attributes": len(self.catalog.attributes) + len(self.user_attributes) > 0,
            "item_graph": self.item_graph and bool(self.modalities),
            "other_behavior": self.other_behavior is not None and len(self.other_behavior) > 0,
        }
        return tuple(part for part in PARTS if there.get(part, part in self.modalities))

    def without(self, *parts: Part) -> Knowledge:
        """The same, less some parts; without attributes there are no prices either."""
        changed = self
        for part in parts:
            if part == "match":
                changed = replace(changed, match=MatchScores.unknown(len(self.catalog)))
            elif part == "item_graph":
                changed = replace(changed, item_graph=False)
            elif part == "other_behavior":
                changed = replace(changed, other_behavior=None)
            elif part == "attributes":
                no_price = np.full(len(self.catalog), np.nan)
                bare = replace(changed.catalog, attributes=Attributes.of([]), price=no_price)
                changed = replace(changed, catalog=bare, user_attributes=Attributes.of([]))
            else:
                changed = replace(
                    changed, modalities={name: one for name, one in changed.modalities.items() if name != part}
                )
        return changed

    def pair(self) -> ItemVectors:
        """Words and pictures, for a model of two modalities; where one is absent, audio stands in its place."""
        n = len(self.catalog)
        left = dict(self.modalities)
        audio = left.pop("audio", Embeddings.missing(n, 1, ""))
        text = left.get("text", audio)
        image = left["image"] if "image" in left else (audio if "text" in left else Embeddings.missing(n, 1, ""))
        return ItemVectors(text, image)

    def content(self, *, image_share: float = 0.5) -> NDArray[np.float32]:
        """All modalities as one centered vector an item, the picture trusted as far as it matches the words.

        Args:
            image_share: share of the picture beside the words; audio counts as much as an equal part of all modalities.

        Returns:
            float32 [n_items, sum of dims]; rows of length 1, or 0 where nothing is known.
        """
        n = len(self.catalog)
        text, image = (self.modalities.get(name, Embeddings.missing(n, 1, "")) for name in ("text", "image"))
        fused = item_content(ItemVectors(text, image), self.match, image_share=image_share)
        others = [centered(one) for name, one in self.modalities.items() if name not in ("text", "image")]
        share = 1 / max(len(self.modalities), 1)
        return reduce(lambda whole, other: fuse(whole, other, image_share=share), others, fused)

    def neighbors(self, k: int) -> dict[str, Neighbors]:
        """The k nearest items of each item by each modality; none without an item graph."""
        if not self.item_graph:
            return {}
        return {name: top_neighbors(one.vectors, k, mask=one.mask) for name, one in self.modalities.items()}

    def did(self) -> dict[str, sparse.csr_matrix]:
        """Other behavior by type of event: float32 [n_users, n_items], 1 at each pair."""
        events = self.other_behavior
        if events is None:
            return {}
        kinds = events.event_type.astype(str)
        return {kind: events.where(kinds == kind).matrix(binary=True) for kind in sorted(set(kinds.tolist()))}

    def fingerprint(self) -> str:
        """Hex digest of everything."""
        facts = [self.catalog.attributes, self.user_attributes]
        other: list[NDArray[np.generic] | str] = []
        told = self.other_behavior
        if told is not None:
            other = [told.user_idx, told.item_idx, told.weight, "\n".join(map(str, told.event_type))]
            if told.timestamp is not None:  # with it edges of the graph may fade
                other.append(told.timestamp)
        return fingerprint(
            self.catalog.items.fingerprint,
            str([sorted(zip(f.row_idx.tolist(), f.name.tolist(), f.value.tolist(), strict=True)) for f in facts]),
            self.catalog.price,
            *(part for name, one in sorted(self.modalities.items()) for part in (name, one.vectors)),
            self.match.score,
            str(self.item_graph),
            *other,
        )
