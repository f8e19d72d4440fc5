"""`ratings.*` of a benchmark folder: who was asked about what, and whether they liked it.

ratings.parquet|csv|jsonl      user_idx, item_idx and label (0 or 1)
triples.parquet|csv|jsonl      head_idx, relation, tail_idx: facts; a head or tail that is no item_idx is an entity
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.tables import find_table, read_table
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Ratings:
    """Pairs with what is known of them; each pair once.

    Args:
        users: their ids.
        items: their ids.
        user_idx: int64 [n].
        item_idx: int64 [n].
        label: int8 [n]; 1 where the user liked the item.
    """

    users: Vocabulary
    items: Vocabulary
    user_idx: NDArray[np.int64]
    item_idx: NDArray[np.int64]
    label: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.user_idx)

    def where(self, rows: NDArray[np.int64]) -> Ratings:
        """Some rows; the vocabularies stay."""
        return Ratings(self.users, self.items, self.user_idx[rows], self.item_idx[rows], self.label[rows])

    def matrix(self, label: int) -> sparse.csr_matrix:
        """1 at each pair of that label, float32 [n_users, n_items]."""
        of = self.label == label
        at = (self.user_idx[of], self.item_idx[of])
        shape = (len(self.users), len(self.items))
        return sparse.csr_matrix((np.ones(int(of.sum()), dtype=np.float32), at), shape=shape)

    def liked(self) -> Interactions:
        """The liked pairs as events."""
        of = self.label == 1
        n = int(of.sum())
        return Interactions(
            self.users,
            self.items,
            self.user_idx[of],
            self.item_idx[of],
            np.full(n, "like", dtype=object),
            np.ones(n, dtype=np.float32),
        )


def read_ratings(folder: Path, *, quarantine: Quarantine) -> Ratings:
    """Read a table of ratings.

    Args:
        folder: the benchmark folder.
        quarantine: takes the rows that lack an id or a label of 0 or 1, or repeat an earlier pair.

    Raises:
        InputError: there is no table, it lacks a column, or has not both labels.
    """
    path = find_table(folder, "ratings")
    if path is None:
        raise InputError(f"{folder} must hold a ratings table (ratings.parquet, .csv or .jsonl)")
    frame = read_table(path, quarantine=quarantine)
    sieve = Sieve(path.name, frame, quarantine)
    for name in ("user_idx", "item_idx", "label"):
        if name not in frame.columns:
            raise InputError(f"{path} must have the columns user_idx, item_idx and label, {name!r} is missing")
    user, user_ids = cells.coded_ids(frame["user_idx"])
    item, item_ids = cells.coded_ids(frame["item_idx"])
    label, bad = cells.numbers(frame["label"])
    sieve.refuse(user < 0, "user_idx is missing", frame["user_idx"])
    sieve.refuse(item < 0, "item_idx is missing", frame["item_idx"])
    sieve.refuse(bad | ~np.isin(label, (0.0, 1.0)), "label must be 0 or 1", frame["label"])
    key = np.where(sieve.kept, user * np.int64(len(item_ids)) + item, -1 - np.arange(len(frame)))
    again = np.ones(len(frame), dtype=bool)
    again[np.unique(key, return_index=True)[1]] = False
    sieve.refuse(again, "a pair is rated once", frame["item_idx"])
    kept = sieve.kept
    users, user_idx = _renumbered(user[kept], user_ids)
    items, item_idx = _renumbered(item[kept], item_ids)
    labels = label[kept].astype(np.int8)
    if set(labels.tolist()) != {0, 1}:
        raise InputError(f"{path} must have ratings of both labels, 0 and 1, it has {sorted(set(labels.tolist()))}")
    return Ratings(users, items, user_idx, item_idx, labels)


def _renumbered(codes: NDArray[np.int64], names: list[str]) -> tuple[Vocabulary, NDArray[np.int64]]:
    """Only the names that a kept row has."""
    known, rows = np.unique(codes, return_inverse=True)
    return Vocabulary(tuple(names[code] for code in known.tolist())), rows.astype(np.int64)


def six_two_two(ratings: Ratings, *, seed: int) -> tuple[Ratings, Ratings, Ratings]:
    """Training, validation and test rows at random, 6 : 2 : 2, as is usual for these data sets (Wang et al. 2018)."""
    order = np.random.default_rng(seed).permutation(len(ratings))
    n = len(ratings)
    parts = np.split(order, [round(0.6 * n), round(0.8 * n)])
    train, valid, test = (ratings.where(np.sort(part)) for part in parts)
    return train, valid, test
