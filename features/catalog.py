"""What a shop sells: the central item table, and the attributes of items or users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Attributes:
    """Facts of the form (row, name, value): item 7, "brand", "Acme". A many-valued attribute takes many rows.

    Args:
        row_idx: int64 [n]; the item's or the user's row.
        name: object [n] of str; the attribute, such as "brand".
        value: object [n] of str; its value. A path ("Apparel", "Shoes", "Boots") is stored as its
            prefixes "Apparel", "Apparel > Shoes", "Apparel > Shoes > Boots".

    Raises:
        ValueError: the arrays differ in length.
    """

    row_idx: NDArray[np.int64]
    name: NDArray[np.object_]
    value: NDArray[np.object_]

    def __post_init__(self) -> None:
        if not len(self.row_idx) == len(self.name) == len(self.value):
            raise ValueError(
                f"attribute arrays must have one length, got {len(self.row_idx)}, {len(self.name)}, {len(self.value)}"
            )

    def __len__(self) -> int:
        return len(self.row_idx)

    @classmethod
    def of(cls, facts: Sequence[tuple[int, str, str]]) -> Attributes:
        """From a list of (row, name, value)."""
        return cls(
            np.array([fact[0] for fact in facts], dtype=np.int64),
            np.array([fact[1] for fact in facts], dtype=object),
            np.array([fact[2] for fact in facts], dtype=object),
        )

    def names(self) -> list[str]:
        """The different attribute names, sorted."""
        return sorted(set(self.name.tolist()))

    def only(self, name: str) -> Attributes:
        """The rows of one attribute."""
        keep = self.name == name
        return Attributes(self.row_idx[keep], self.name[keep], self.value[keep])


@dataclass(frozen=True, eq=False)
class Catalog:
    """Every item of a shop, one row an item.

    Args:
        items: outside ids; row i of every other field belongs to item i.
        title: object [n_items] of str.
        description: object [n_items] of str, "" where absent.
        image: object [n_items] of str; the main picture's name in the shop's image source, "" where absent.
        price: float64 [n_items] in the shop's currency, NaN where absent.
        available: bool [n_items].
        attributes: every other column of the item table.
        more_images: row -> names of the item's further pictures, of items that have more than one.

    Raises:
        ValueError: a field's length differs from the number of items, or an item without a main picture has further
            ones.
    """

    items: Vocabulary
    title: NDArray[np.object_]
    description: NDArray[np.object_]
    image: NDArray[np.object_]
    price: NDArray[np.float64]
    available: NDArray[np.bool_]
    attributes: Attributes
    more_images: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("title", "description", "image", "price", "available"):
            if len(getattr(self, name)) != len(self.items):
                raise ValueError(
                    f"{name} must have a row an item ({len(self.items)}), it has {len(getattr(self, name))}"
                )

        for row in self.more_images:
            if not (0 <= row < len(self.items) and self.image[row]):
                raise ValueError(f"an item with further pictures must have a main one, row {row} has none")

    def __len__(self) -> int:
        return len(self.items)

    def images(self) -> list[tuple[str, ...]]:
        """Names of every item's pictures, the main one first; () for none."""
        return [(main, *self.more_images.get(row, ())) if main else () for row, main in enumerate(self.image.tolist())]

    def texts(self) -> list[str]:
        """Title and description of each item as one text, "" where both are absent."""
        return [
            ". ".join(part for part in (title, description) if part)
            for title, description in zip(self.title.tolist(), self.description.tolist(), strict=True)
        ]
