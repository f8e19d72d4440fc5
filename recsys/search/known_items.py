"""Queries made from the shop itself: what somebody types who knows an item and remembers part of its title.

Known-item search has one right answer a query, so it can be judged without labels (Azzopardi, de Rijke and Balog,
2007). It favors the letter over the meaning: the words are the shop's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.search.terms import normalized

LEAST_SHARE = 0.5
"""Of a title's words, or of its characters where it writes no spaces, that are remembered."""


@dataclass(frozen=True, eq=False)
class KnownItem:
    """A query and its right answers.

    Args:
        words: what is typed.
        rows: the items with exactly the title it was made from.
    """

    words: str
    rows: NDArray[np.int64]


def known_items(titles: Sequence[str], n: int, *, seed: int = 0) -> list[KnownItem]:
    """Queries from different titles, in random order.

    Args:
        titles: of all items, in row order; blank ones are never asked for.
        n: queries at most.
        seed: of which titles, and of what is remembered of each.
    """
    rng = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        if title.strip():
            rows_of.setdefault(normalized(title).strip(), []).append(row)
    distinct = list(rows_of)
    drawn = [distinct[place] for place in rng.permutation(len(distinct))[:n]]
    return [KnownItem(_remembered(title, rng), np.array(rows_of[title], dtype=np.int64)) for title in drawn]


def without_words(title: str, n: int, rng: np.random.Generator) -> str:
    """A title without n of its words, at least one left, in their order."""
    words = title.split()
    kept = np.sort(rng.permutation(len(words))[: max(1, len(words) - n)])
    return " ".join(words[place] for place in kept)


def _remembered(title: str, rng: np.random.Generator) -> str:
    words = title.split()
    if len(words) > 1:
        return without_words(title, int(rng.integers(0, int(len(words) * (1 - LEAST_SHARE)) + 1)), rng)
    kept = int(rng.integers(max(1, round(len(title) * LEAST_SHARE)), len(title) + 1))
    start = int(rng.integers(0, len(title) - kept + 1))
    return title[start : start + kept]


def reciprocal_rank(order: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    """1 / place of the first right answer, 0 where there is none."""
    places = np.flatnonzero(np.isin(order, right))
    return 1 / (int(places[0]) + 1) if len(places) else 0.0
