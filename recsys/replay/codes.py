"""Texts of a long table as numbers, batch by batch: memory grows with the different texts, not with the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.shop import cells
from recsys.replay.log import Coded

MOST_PARTS = 64
"""Labels told apart where traffic is split by them; of more, the most frequent."""


class Codes:
    """Different texts, numbered in the order in which they came, with how often each was there."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._counts = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._place)

    @property
    def names(self) -> tuple[str, ...]:
        """The texts by number."""
        return tuple(self._place)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each was there, int64 [texts]."""
        return self._counts

    def of_ids(self, column: pd.Series) -> NDArray[np.int64]:
        """Numbers of a column of ids, -1 where missing; new ones are taken in."""
        codes, names = cells.coded_ids(column)
        return self._taken(codes, names)

    def of_texts(self, texts: NDArray[np.object_]) -> NDArray[np.int64]:
        """Numbers of texts, -1 for ""; new ones are taken in."""
        codes, names = pd.factorize(texts)
        return self._taken(codes.astype(np.int64), list(names))

    def find(self, column: pd.Series) -> NDArray[np.int64]:
        """Numbers of a column of ids, -1 where missing or not met before."""
        codes, names = cells.coded_ids(column)
        return np.append(np.array([self._place.get(name, -1) for name in names], dtype=np.int64), -1)[codes]

    def _taken(self, codes: NDArray[np.int64], names: list[str]) -> NDArray[np.int64]:
        place = [self._place.setdefault(name, len(self._place)) if name else -1 for name in names]
        found = np.append(np.array(place, dtype=np.int64), -1)[codes]
        grown = np.bincount(found[found >= 0], minlength=len(self))
        grown[: len(self._counts)] += self._counts
        self._counts = grown
        return found

    def common(self, label_of: Mapping[str, str] | None = None) -> Coded:
        """The most frequent labels, at most `MOST_PARTS`, ties by name; and the place of each text among them, or -1.

        Args:
            label_of: text → label, "" for none; left out, each text is its own label.
        """
        told = [name if label_of is None else label_of.get(name, "") for name in self._place]
        counts: dict[str, int] = {}
        for label, count in zip(told, self._counts.tolist(), strict=True):
            if label:
                counts[label] = counts.get(label, 0) + count
        labels = tuple(sorted(counts, key=lambda label: (-counts[label], label))[:MOST_PARTS])
        place = {label: number for number, label in enumerate(labels)}
        return labels, np.array([*(place.get(label, -1) for label in told), -1], dtype=np.int64)


def hashed(column: pd.Series) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Ids as numbers of 64 bits, for more ids than can be kept, and whether each is missing.

    Two of n different ids get the same number with a probability of n² / 2⁶⁵: one in 370,000 for ten million.
    """
    codes, names = cells.coded_ids(column)
    hashes = pd.util.hash_array(np.array([*names, ""], dtype=object), categorize=False)
    return hashes[codes], codes < 0
