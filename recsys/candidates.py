"""The tiers of the fallback ladder: each finds items its own way and knows which viewed item led it there.

A tier that has nothing to say returns nothing; the next one down fills what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle_parts import NeighborList
from recsys.index import ItemIndex
from recsys.recommendation import Source


@dataclass(frozen=True, eq=False)
class Query:
    """What the tiers are asked.

    Args:
        hidden: bool [n_items]; not to be found.
        vector: float32 [dim]; the user's vector, None where there is none.
        anchors: int64 [n]; rows of the items to go by: recently viewed, or the one a page shows.
        weights: float32 [n]; how much each anchor counts, > 0.
        category: the category of the page, "" where there is none.
    """

    hidden: NDArray[np.bool_]
    vector: NDArray[np.float32] | None
    anchors: NDArray[np.int64]
    weights: NDArray[np.float32]
    category: str = ""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What one tier found, best first.

    Args:
        idx: int64 [n]; rows, all different.
        score: float32 [n]; comparable within a tier.
        anchor: int64 [n]; the row of the anchor that led to it, -1 where none did.
    """

    idx: NDArray[np.int64]
    score: NDArray[np.float32]
    anchor: NDArray[np.int64]

    @classmethod
    def of(
        cls, idx: NDArray[np.int64], score: NDArray[np.float32], anchor: NDArray[np.int64] | None = None
    ) -> Candidates:
        """With no anchor unless some are given."""
        return cls(idx, score, np.full(len(idx), -1, dtype=np.int64) if anchor is None else anchor)

    @classmethod
    def none(cls) -> Candidates:
        """Nothing found."""
        return cls.of(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))


class Tier(Protocol):
    """One rung of the ladder."""

    source: Source

    def find(self, query: Query, k: int) -> Candidates:
        """At most k items outside `query.hidden`, best first."""
        ...


class Personalized:
    """The items of largest dot product with the user's vector.

    Args:
        index: of the item embeddings.
        voiceless: bool [n_items]; items without an embedding, which a dot product says nothing about.
    """

    source: Source = "personalized"

    def __init__(self, index: ItemIndex, voiceless: NDArray[np.bool_]) -> None:
        self._index = index
        self._voiceless = voiceless if voiceless.any() else None

    def find(self, query: Query, k: int) -> Candidates:
        """As `Tier.find`; nothing without a user vector."""
        if query.vector is None:
            return Candidates.none()
        hidden = query.hidden if self._voiceless is None else query.hidden | self._voiceless
        return Candidates.of(*self._index.search(query.vector, k, hidden))


class Neighbors:
    """Items on the lists of the anchors, their scores weighted and summed: score = sum_a weight_a score_a(item).

    Args:
        source: "published" for the similar-items lists, "content" for text and image neighbors.
        lists: every list is asked; scores of one item from several lists add up.
    """

    def __init__(self, source: Source, lists: Sequence[NeighborList]) -> None:
        self.source = source
        self._lists = lists

    def find(self, query: Query, k: int) -> Candidates:
        """As `Tier.find`; an item without likeness (score <= 0) is no neighbor."""
        found: dict[int, float] = {}
        led: dict[int, tuple[float, int]] = {}
        for anchor, weight in zip(query.anchors.tolist(), query.weights.tolist(), strict=True):
            for neighbor_list in self._lists:
                idx, score = neighbor_list.of(anchor)
                keep = ~query.hidden[idx] & (score > 0)
                for item, value in zip(idx[keep].tolist(), (weight * score[keep]).tolist(), strict=True):
                    found[item] = found.get(item, 0.0) + value
                    led[item] = max(led.get(item, (value, anchor)), (value, anchor))
        best = sorted(found, key=lambda item: (-found[item], item))[:k]
        return Candidates.of(
            np.array(best, dtype=np.int64),
            np.array([found[item] for item in best], dtype=np.float32),
            np.array([led[item][1] for item in best], dtype=np.int64),
        )


class PopularInCategory:
    """The most popular items of the page's category, then of the anchors' categories.

    A category counts as much as the anchors in it; of two that count the same, the narrower one goes first.

    Args:
        bundle: knows the categories.
    """

    source: Source = "popular_in_category"

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def find(self, query: Query, k: int) -> Candidates:
        """As `Tier.find`; the score is the popularity."""
        weight: dict[str, float] = {}
        leader: dict[str, tuple[float, int]] = {}
        for anchor, value in zip(query.anchors.tolist(), query.weights.tolist(), strict=True):
            for category in self._bundle.categories_of(anchor):
                weight[category] = weight.get(category, 0.0) + value
                leader[category] = max(leader.get(category, (value, anchor)), (value, anchor))
        members = {category: self._bundle.category_members(category) for category in {query.category, *weight}}
        order = sorted(weight, key=lambda category: (-weight[category], len(members[category]), category))
        found: dict[int, int] = {}
        for category in dict.fromkeys([query.category, *order]):
            open_rows = members[category][~query.hidden[members[category]]]
            for item in open_rows[: k + len(found)].tolist():
                found.setdefault(item, leader.get(category, (0.0, -1))[1])
            if len(found) >= k:
                break
        best = np.array(list(found)[:k], dtype=np.int64)
        return Candidates.of(best, self._bundle.popularity[best], np.array(list(found.values())[:k], dtype=np.int64))


class Popular:
    """The items most users liked, ties by row.

    Args:
        popularity: float32 [n_items].
    """

    source: Source = "popular"

    def __init__(self, popularity: NDArray[np.float32]) -> None:
        self._popularity = popularity
        self._order = np.argsort(-popularity, kind="stable")

    def find(self, query: Query, k: int) -> Candidates:
        """As `Tier.find`; the score is the popularity."""
        found: list[NDArray[np.int64]] = []
        block = k + 1024
        for start in range(0, len(self._order), block):
            rows = self._order[start : start + block]
            found.append(rows[~query.hidden[rows]])
            if sum(len(rows) for rows in found) >= k:
                break
        best = np.concatenate([*found, np.zeros(0, dtype=np.int64)])[:k]
        return Candidates.of(best, self._popularity[best])


def climb_down(tiers: Sequence[Tier], query: Query, k: int) -> list[tuple[Source, Candidates]]:
    """Ask the tiers in order until k items are found; no item is found twice."""
    hidden = query.hidden.copy()
    left = k
    answer: list[tuple[Source, Candidates]] = []
    for tier in tiers:
        if left <= 0:
            break
        found = tier.find(replace(query, hidden=hidden), left)
        if len(found.idx):
            answer.append((tier.source, found))
            hidden[found.idx] = True
            left -= len(found.idx)
    return answer
