"""Why an item is suggested: short statements, each of which the bundle's own data proves.

Nothing is said that could not be checked: a shared attribute value, a place among an item's nearest pictures or texts,
the number of users who met both, an item the user really viewed. Where nothing can be said, nothing is.
"""

from __future__ import annotations

import numpy as np

from recsys.bundle import Bundle
from recsys.recommendation import Anchor, Source

MAX_REASONS = 3

ALIKE_DEPTH = 10
"""An item "looks alike" when it is among so many nearest by picture (and at most a tenth of the catalog)."""

MIN_TOGETHER = 2
"""Users who must have met two items before it is said that they go together."""

LONGEST_TITLE = 60

_BECAUSE: dict[Anchor, str] = {
    "viewed": "because you viewed {}",
    "page": "because you are looking at {}",
    "cart": "because {} is in your cart",
    "like": "because you asked for items like {}",
    "history": "because {} is in your history",
}
_ALIKE = {"image": "looks alike", "text": "reads alike"}


class Explainer:
    """Finds reasons in a bundle.

    Args:
        bundle: the data that prove them.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._depth = max(1, min(ALIKE_DEPTH, len(bundle) // 10))
        self._popular_from = max(1.0, float(np.median(bundle.popularity)))

    def similar(self, page_idx: int, item_idx: int, source: Source) -> tuple[str, ...]:
        """Why an item stands beside the item of a page."""
        if source in ("popular", "popular_in_category"):
            return self._popular(item_idx, page_idx if source == "popular_in_category" else -1, "")
        return tuple(self.relation(page_idx, item_idx)[:MAX_REASONS])

    def feed(
        self, item_idx: int, source: Source, *, anchor_idx: int, role: Anchor, category: str = ""
    ) -> tuple[str, ...]:
        """Why an item is in a user's feed.

        Args:
            item_idx: the suggested item's row.
            source: the tier it came from.
            anchor_idx: row of the item that led to it, -1 where none did.
            role: what the anchor is to the user.
            category: the category of the page.
        """
        if source == "popular":
            return self._popular(item_idx, -1, "")
        if source == "popular_in_category":
            return self._popular(item_idx, anchor_idx, category)
        if anchor_idx < 0:
            return ()
        first = _BECAUSE[role].format(self._title(anchor_idx))
        return (first, *self.relation(anchor_idx, item_idx)[: MAX_REASONS - 1])

    def relation(self, anchor_idx: int, item_idx: int) -> list[str]:
        """Everything true of two items, most telling first."""
        shared = [f"same {name.replace('_', ' ')}: {value}" for name, value in self.shared(anchor_idx, item_idx)]
        together = self.together(anchor_idx, item_idx)
        told = [f"viewed or bought together by {together} shoppers"] if together >= MIN_TOGETHER else []
        alike = [said for modality, said in _ALIKE.items() if self.alike(anchor_idx, item_idx, modality)]
        return [*told, *shared[:1], *alike, *shared[1:]]

    def shared(self, anchor_idx: int, item_idx: int) -> list[tuple[str, str]]:
        """Attribute values of both items as (name, value), rarest first.

        A value that more than half of the catalog has tells nothing and is left out; of a path only the deepest shared
        step is kept.
        """
        ours, theirs = self._attributes(anchor_idx), self._attributes(item_idx)
        counts = self._bundle.attribute_counts
        found = [
            (counts[name][value], name, value)
            for name, values in ours.items()
            for value in dict.fromkeys(values)
            if value in theirs.get(name, ()) and counts[name][value] <= len(self._bundle) / 2
        ]
        return [
            (name, value)
            for _, name, value in sorted(found)
            if not any(name == other and deeper.startswith(f"{value} > ") for _, other, deeper in found)
        ]

    def together(self, anchor_idx: int, item_idx: int) -> int:
        """Users with an event on both; 0 where the bundle does not list the pair."""
        for a, b in ((anchor_idx, item_idx), (item_idx, anchor_idx)):
            rows, users = self._bundle.together(a)
            where = np.flatnonzero(rows == b)
            if len(where):
                return int(users[where[0]])
        return 0

    def alike(self, anchor_idx: int, item_idx: int, modality: str) -> bool:
        """Whether one of the two is among the other's nearest by "image" or "text"."""
        neighbors = self._bundle.neighbors.get(modality)
        if neighbors is None:
            return False
        for a, b in ((anchor_idx, item_idx), (item_idx, anchor_idx)):
            idx, score = neighbors.of(a)
            if np.any((idx[: self._depth] == b) & (score[: self._depth] > 0)):
                return True
        return False

    def _popular(self, item_idx: int, anchor_idx: int, category: str) -> tuple[str, ...]:
        reasons = ["popular with shoppers"] if self._bundle.popularity[item_idx] >= self._popular_from else []
        wanted = {category} | set(self._bundle.categories_of(anchor_idx) if anchor_idx >= 0 else ())
        counts = self._bundle.attribute_counts.get(self._bundle.category_attribute, {})
        common = [value for value in self._bundle.categories_of(item_idx) if value in wanted]
        if common:
            narrowest = category if category in common else min(common, key=lambda value: (counts[value], value))
            reasons.append(f"same {self._bundle.category_attribute.replace('_', ' ')}: {narrowest}")
        return tuple(reasons)

    def _attributes(self, item_idx: int) -> dict[str, list[str]]:
        attributes: dict[str, list[str]] = self._bundle.display(item_idx)["attributes"]
        return attributes

    def _title(self, item_idx: int) -> str:
        shown = self._bundle.display(item_idx)
        title = str(shown["title"] or shown["item_id"])
        return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…"
