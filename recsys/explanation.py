"""Why an item is suggested: short statements, each of which the bundle's own data proves.

Nothing is said that could not be checked: a shared attribute value, a place among an item's nearest pictures or texts,
the number of users who met both, an item the user really viewed. Where nothing can be said, nothing is. All slots of
an answer are explained together, and what an item's display data say of it is kept for the next answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.kept import Kept
from recsys.recommendation import Anchor, Source

Rows = NDArray[np.int64]
Reasons = tuple[str, ...]
Fact = tuple[int, str, str]
"""How many items share an attribute value, the attribute's name, and the value."""
_InFeed = tuple[int, Source, int, Anchor, str]
"""What the reasons of a slot of a feed follow from: the item's row, what found it, the row of the item that led to it,
what that is to the user, and the page's category."""

MAX_REASONS = 3

ALIKE_DEPTH = 10
"""An item "looks alike" when it is among so many nearest by picture (and at most a tenth of the catalog)."""

MIN_TOGETHER = 2
"""Users who must have met two items before it is said that they go together."""

LONGEST_TITLE = 60
KEPT_ITEMS = 20_000
"""Items whose facts are kept, those asked for last; about 1 kB each."""
KEPT_REASONS = 50_000
"""Slots of feeds whose reasons are kept, some 0.5 kB each: what is shown to a user is much the same after an event."""

_BECAUSE: dict[Anchor, str] = {
    "viewed": "because you viewed {}",
    "page": "because you are looking at {}",
    "cart": "because {} is in your cart",
    "like": "because you asked for items like {}",
    "history": "because {} is in your history",
}
_ALIKE = {"image": "looks alike", "text": "reads alike"}


@dataclass(frozen=True)
class _Shown:
    """What an item's display data say of it.

    Args:
        title: short enough for a reason.
        facts: attribute values that not more than half of the catalog has.
        categories: those of the item that the bundle knows.
    """

    title: str
    facts: frozenset[Fact]
    categories: tuple[str, ...]


class Explainer:
    """Finds reasons in a bundle; safe to share between threads.

    Args:
        bundle: the data that prove them.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._depth = max(1, min(ALIKE_DEPTH, len(bundle) // 10))
        self._items: Kept[int, _Shown] = Kept(KEPT_ITEMS)
        self._reasons: Kept[_InFeed, Reasons] = Kept(KEPT_REASONS)

    def let_go(self) -> None:
        """Keep nothing any more; given back a little at a time where work is unhurried."""
        self._items.let_go()
        self._reasons.let_go()

    def similar(self, page_idx: int, items: Rows, sources: Sequence[Source]) -> list[Reasons]:
        """Why items stand beside the item of a page.

        Args:
            page_idx: row of the page's item.
            items: int64 [n]; rows of the suggestions.
            sources: the tier each came from.
        """
        telling = [place for place, source in enumerate(sources) if source not in SAYS_ITSELF]
        pages = np.full(len(telling), page_idx, dtype=np.int64)
        relations = iter(self.relations(pages, items[telling]))
        return [
            tuple(next(relations)[:MAX_REASONS])
            if source not in SAYS_ITSELF
            else self._by_itself(item, source, page_idx if source == "popular_in_category" else -1)
            for item, source in zip(items.tolist(), sources, strict=True)
        ]

    def feed(
        self,
        items: Rows,
        sources: Sequence[Source],
        *,
        anchors: Rows,
        roles: Sequence[Anchor],
        categories: Sequence[str],
    ) -> list[Reasons]:
        """Why items are in feeds, of one user or of many.

        Args:
            items: int64 [n]; rows of the suggestions.
            sources: the tier each came from.
            anchors: int64 [n]; row of the item that led to each, -1 where none did.
            roles: what each anchor is to its user.
            categories: the category of each one's page, "" for none.
        """
        slots = list(zip(items.tolist(), sources, anchors.tolist(), roles, categories, strict=True))
        found = self._reasons.get_all(slots)
        if None in found:
            new = list({slot for slot, known in zip(slots, found, strict=True) if known is None})
            told = dict(zip(new, self._of_feeds(new), strict=True))
            for slot, reasons in told.items():
                self._reasons.keep(slot, reasons, 1)
            found = [told[slot] if known is None else known for slot, known in zip(slots, found, strict=True)]
        return cast("list[Reasons]", found)

    def _of_feeds(self, slots: Sequence[_InFeed]) -> list[Reasons]:
        """The reasons of slots of feeds."""
        telling = [slot for slot in slots if slot[1] not in SAYS_ITSELF and slot[2] >= 0]
        ours, theirs = (np.array([slot[place] for slot in telling], dtype=np.int64) for place in (2, 0))
        relations = iter(self.relations(ours, theirs))
        found: list[Reasons] = []
        for item, source, anchor, role, category in slots:
            if source in SAYS_ITSELF:
                found.append(self._by_itself(item, source, anchor, category))
            elif anchor < 0:
                found.append(())
            else:
                first = _BECAUSE[role].format(self._shown(anchor).title)
                found.append((first, *next(relations)[: MAX_REASONS - 1]))
        return found

    def relations(self, ours: Rows, theirs: Rows) -> list[list[str]]:
        """Everything true of the two items of each pair, most telling first.

        Args:
            ours: int64 [n]; row of one item of each pair.
            theirs: int64 [n]; row of the other.
        """
        if not len(ours):
            return []
        users = self._bundle.met_both(ours, theirs).tolist()
        alike = [(said, self.alike(ours, theirs, kind).tolist()) for kind, said in _ALIKE.items()]
        found = []
        for place, pair in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
            shared = [f"same {name.replace('_', ' ')}: {value}" for name, value in self.shared(*pair)]
            together = users[place]
            told = [f"viewed or bought together by {together} shoppers"] if together >= MIN_TOGETHER else []
            found.append([*told, *shared[:1], *(said for said, holds in alike if holds[place]), *shared[1:]])
        return found

    def shared(self, one: int, other: int) -> list[tuple[str, str]]:
        """Attribute values of both items as (name, value), rarest first.

        A value that more than half of the catalog has tells nothing and is left out; of a path only the deepest shared
        step is kept.
        """
        common = self._shown(one).facts & self._shown(other).facts
        if not common:
            return []
        found = sorted(common)
        return [
            (name, value)
            for _, name, value in found
            if not any(name == also and deeper.startswith(f"{value} > ") for _, also, deeper in found)
        ]

    def alike(self, ours: Rows, theirs: Rows, kind: str) -> NDArray[np.bool_]:
        """Whether one of the two items of each pair is among the other's nearest by "image" or "text": bool [n].

        Args:
            ours: int64 [n]; row of one item of each pair.
            theirs: int64 [n]; row of the other.
            kind: of content.
        """
        neighbors = self._bundle.neighbors.get(kind)
        if neighbors is None:
            return np.zeros(len(ours), dtype=np.bool_)
        near = neighbors.near(np.concatenate([ours, theirs]), np.concatenate([theirs, ours]), self._depth)
        return near[: len(ours)] | near[len(ours) :]

    def _shown(self, item: int) -> _Shown:
        """What an item's display data say of it."""
        known = self._items.get(item)
        if known is None:
            known = _read(self._bundle, item)
            self._items.keep(item, known, 1)
        return known

    def _by_itself(self, item: int, source: Source, anchor: int, category: str = "") -> Reasons:
        """Reasons of a suggestion that no other item led to."""
        if source == "pinned":
            return ("chosen by the shop",)
        if source == "popular":
            anchor, category = -1, ""
        reasons = ["popular with shoppers"] if self._popular[item] else []
        wanted = {category, *(self._shown(anchor).categories if anchor >= 0 else ())}
        common = [value for value in self._shown(item).categories if value in wanted]
        if common:
            attribute = self._bundle.category_attribute
            counts = self._bundle.attribute_counts.get(attribute, {})
            narrowest = category if category in common else min(common, key=lambda value: (counts[value], value))
            reasons.append(f"same {attribute.replace('_', ' ')}: {narrowest}")
        return tuple(reasons)

    @cached_property
    def _popular(self) -> NDArray[np.bool_]:
        """Whether each item is among the better known half, bool [n_items]."""
        popularity = self._bundle.popularity
        popular: NDArray[np.bool_] = popularity >= max(1.0, float(np.median(popularity)))
        return popular


SAYS_ITSELF: frozenset[Source] = frozenset({"popular", "popular_in_category", "pinned"})
"""Sources whose suggestions stand for themselves, and are not explained by another item."""


def _read(bundle: Bundle, item: int) -> _Shown:
    """What an item's display data say of it."""
    shown, counts = bundle.display(item), bundle.attribute_counts
    title = str(shown["title"] or shown["item_id"])
    attributes: dict[str, list[str]] = shown["attributes"]
    facts = (
        (counts[name][value], name, value)
        for name, values in attributes.items()
        for value in values
        if counts[name][value] <= len(bundle) / 2
    )
    return _Shown(
        title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…",
        frozenset(facts),
        tuple(value for value in attributes.get(bundle.category_attribute, ()) if value in bundle.category_names),
    )
