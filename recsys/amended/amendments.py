"""Gathers what changes in a catalog, and makes the bundle and the search index as they are after each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.amended.bundle import AmendedBundle, AmendedList, Listed
from recsys.amended.placed import Floats, Placed
from recsys.amended.vocabulary import AmendedVocabulary
from recsys.bundle import Bundle
from recsys.bundle_parts import NeighborList
from recsys.display_table import DISPLAY_FIELDS
from recsys.pipeline.likeness import FUSED, Likeness
from recsys.recommendation import Part
from recsys.search.amended import AmendedSpace, amended_search
from recsys.search.spaces import Space, Spaces
from recsys.search.stored import StoredSearch
from recsys.similar import distrust

LIST_LENGTH = 50
ALIKE_LENGTH = 10


class Amendments:
    """What has changed since a bundle was made. For one thread; what it makes is safe to share.

    A new item gets lists of its own, and takes its place in the lists of the items most like it.

    Args:
        base: the bundle.
        search: its index; None for none.
    """

    def __init__(self, base: Bundle, search: StoredSearch | None) -> None:
        self._base, self._search = base, search
        self._ids: dict[str, int] = {}
        self._places: list[Floats] = []
        self._shown: dict[int, Mapping[str, Any]] = {}
        self._changed: dict[int, bytes | None] = {}
        self._gone: set[int] = set()
        self._vectors: dict[int, Mapping[str, Floats]] = {}
        self._match: dict[int, float] = {}
        self._lists: dict[int, dict[str, Listed]] = {}
        self._items = AmendedVocabulary.over(base.items)
        self._item_vectors = base.item_vectors
        self._revision = 0

    def apply(self, changes: Mapping[str, Placed | None]) -> tuple[AmendedBundle, StoredSearch | None, Spaces]:
        """Take in changes; None removes an item.

        Returns:
            The bundle, the search index, and the spaces of words and pictures, with all changes so far.

        Raises:
            ValueError: a new item has no place.
        """
        placed = {self._take(item_id, one) for item_id, one in changes.items()}
        if any(row >= len(self._base) for row in placed):
            self._item_vectors = np.concatenate([self._base.item_vectors, np.stack(self._places)])
        self._revision += 1
        bundle = self._bundle()
        search = self._searched(bundle)
        spaces = self._spaces(bundle) if search is None else search.spaces
        likeness = Likeness(bundle, spaces)
        for row in placed:
            if row >= len(self._base) and row not in self._gone:
                self._lists[row] = self._lists_of(row, likeness, bundle)
        return self._listed(bundle), search, spaces

    def _take(self, item_id: str, placed: Placed | None) -> int:
        """Note one change; the item's row."""
        base = self._base
        row = base.items.idx(item_id) if item_id in base.items else self._ids.get(item_id, -1)
        if placed is None:
            if row >= 0:
                self._gone.add(row)
                self._changed.setdefault(row, None)
            return row
        if row < 0:
            row = len(base) + len(self._ids)
        if row >= len(base):
            if placed.place is None:
                raise ValueError(f"a new item must have a place, {item_id!r} has none")
            self._ids[item_id] = row
            self._places[row - len(base) :] = [placed.place, *self._places[row - len(base) + 1 :]]
        self._gone.discard(row)
        self._shown[row] = placed.display
        self._changed[row] = orjson.dumps({name: placed.display[name] for name in DISPLAY_FIELDS})
        self._vectors[row] = placed.vectors
        self._match.pop(row, None)
        if placed.match_score is not None:
            self._match[row] = placed.match_score
        return row

    def _bundle(self) -> AmendedBundle:
        """The bundle as it is now, but for the lists."""
        base, n_new = self._base, len(self._ids)
        available = np.concatenate([base.available, np.zeros(n_new, dtype=np.bool_)])
        for row, shown in self._shown.items():
            available[row] = bool(shown["available"])
        available[list(self._gone)] = False  # an index of an empty list selects nothing
        nobody = np.zeros(n_new, dtype=np.float32)
        match = np.concatenate([base.match_scores, nobody + np.float32("nan")])
        match[list(self._match)] = list(self._match.values())
        values, categories = self._value_changes(), self._category_changes()
        names = [name for name in categories if name not in base.category_names]
        taken = {one.name: getattr(base, one.name) for one in fields(Bundle)}
        taken |= {
            "items": self._vocabulary(),
            "item_vectors": self._item_vectors,
            "popularity": np.concatenate([base.popularity, nobody]) if n_new else base.popularity,
            "match_scores": match,
            "available": available,
            "category_names": Vocabulary((*base.category_names, *names)) if names else base.category_names,
        }
        return AmendedBundle(
            **taken,
            trained=base,
            shown={row: shown for row, shown in self._changed.items() if shown is not None},
            gone=frozenset(self._gone),
            value_changes=values,
            category_changes=categories,
            revision=self._revision,
        )

    def _vocabulary(self) -> AmendedVocabulary:
        """The ids as they are now: the same object until an item comes or goes, as workers keep users' rows by it."""
        if len(self._items) != len(self._base) + len(self._ids) or self._items.gone != self._gone:
            self._items = AmendedVocabulary.over(self._base.items, tuple(self._ids), frozenset(self._gone))
        return self._items

    def _searched(self, bundle: AmendedBundle) -> StoredSearch | None:
        if self._search is None:
            return None
        return amended_search(
            self._search,
            before={row: self._base.display(row) for row in self._changed if row < len(self._base)},
            now={row: None if row in self._gone else self._shown[row] for row in self._changed},
            vectors=self._vectors,
            available=bundle.available,
            gone=bundle.removed,
        )

    def _spaces(self, bundle: AmendedBundle) -> Spaces:
        base = {"text": self._base.text_vectors, "image": self._base.image_vectors}
        return {
            name: AmendedSpace.over(
                Space(vectors), {row: of[name] for row, of in self._vectors.items() if name in of}, len(bundle)
            )
            for name, vectors in base.items()
            if vectors.shape[1]
        }

    def _lists_of(self, row: int, likeness: Likeness, bundle: AmendedBundle) -> dict[str, Listed]:
        """What is like a new item: by behavior and content half and half, and by words and picture each."""
        hidden = np.zeros(len(bundle), dtype=np.bool_)
        hidden[[row, *self._gone]] = True
        known = [name for name in ("text", "image") if self._vectors.get(row, {}).get(name, np.zeros(1)).any()]
        weights: dict[Part, float] = {"behavior": FUSED["behavior"]}
        weights |= {name: (1 - FUSED["behavior"]) / len(known) for name in known}  # type: ignore[misc]
        found = {"similar": likeness.ranked(row, weights, hidden, LIST_LENGTH)}
        for name in known:
            found[name] = likeness.ranked(row, {name: 1.0}, hidden, ALIKE_LENGTH)  # type: ignore[dict-item]
        return {name: (ranked.rows, ranked.score) for name, ranked in found.items()}

    def _listed(self, bundle: AmendedBundle) -> AmendedBundle:
        """The bundle with its lists: those of new items, and those in which new items have a place."""
        penalty = distrust(bundle.match_scores)
        by_kind: dict[str, dict[int, Listed]] = {"similar": {}, **{name: {} for name in bundle.neighbors}}
        bases: dict[str, NeighborList] = {"similar": bundle.similar, **bundle.neighbors}
        for row, lists in self._lists.items():
            for kind, found in lists.items():
                if kind in by_kind:
                    by_kind[kind][row] = _less(found, penalty) if kind == "similar" else found
        for row, lists in self._lists.items():
            if row in self._gone:
                continue
            for other, score in zip(*(values.tolist() for values in lists["similar"]), strict=True):
                of_other = by_kind["similar"].get(other)
                listed = bases["similar"].of(other) if of_other is None else of_other
                joined = _joined(listed, row, score - float(penalty[row]))
                if joined is not None:
                    by_kind["similar"][other] = joined
        amended = {kind: AmendedList(bases[kind].idx, bases[kind].score, of) for kind, of in by_kind.items()}
        similar = amended.pop("similar")
        return replace(bundle, similar=similar, neighbors=amended, touched=frozenset(similar.changed) | bundle.gone)

    def _value_changes(self) -> dict[str, dict[str, int]]:
        changes: dict[str, dict[str, int]] = {}
        for before, now in self._pairs():
            for shown, step in ((before, -1), (now, 1)):
                for name, values in shown.items():
                    of_name = changes.setdefault(name, {})
                    for value in dict.fromkeys(values):
                        of_name[value] = of_name.get(value, 0) + step
        return changes

    def _category_changes(self) -> dict[str, NDArray[np.int64]]:
        base, name = self._base, self._base.category_attribute
        left: dict[str, list[int]] = {}
        joined: dict[str, list[int]] = {}
        for row, (before, now) in zip(self._changed, self._pairs(), strict=True):
            was, is_now = set(before.get(name, ())), set(now.get(name, ()))
            for category in was - is_now:
                left.setdefault(category, []).append(row)
            for category in is_now - was:
                joined.setdefault(category, []).append(row)
        changes = {}
        for category in {**left, **joined}:
            members = base.category_members(category)
            members = np.append(members[~np.isin(members, left.get(category, []))], joined.get(category, []))
            members = members.astype(np.int64)
            popularity = np.array([base.popularity[row] if row < len(base) else 0 for row in members.tolist()])
            changes[category] = members[np.lexsort((members, -popularity))]
        return changes

    def _pairs(self) -> list[tuple[Mapping[str, list[str]], Mapping[str, list[str]]]]:
        """The attributes of each changed item before and now."""
        nothing: dict[str, list[str]] = {}
        return [
            (
                self._base.display(row)["attributes"] if row < len(self._base) else nothing,
                nothing if row in self._gone else self._shown[row]["attributes"],
            )
            for row in self._changed
        ]


def _less(listed: Listed, penalty: Floats) -> Listed:
    """A list in which items lose what `recsys.similar.distrust` takes from them, best first again."""
    rows, score = listed[0], listed[1] - penalty[listed[0]]
    order = np.lexsort((rows, -score))
    return rows[order], score[order]


def _joined(listed: Listed, row: int, score: float) -> Listed | None:
    """A list with one more item in its place; None where it is in there already, or too far down."""
    rows, scores = listed
    if row in rows or (len(rows) >= LIST_LENGTH and score <= scores[-1]):
        return None
    place = int(np.searchsorted(-scores, -score, side="right"))
    return (
        np.insert(rows, place, row)[:LIST_LENGTH],
        np.insert(scores, place, np.float32(score))[:LIST_LENGTH],
    )
