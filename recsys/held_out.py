"""The three sides of a split, and the rule that no pair is on two of them.

What is held out is a (user, item) pair, not an event: `train` keeps every event of its pairs (weights, types, times),
`valid` and `test` hold one row a pair. A pair that was already in training is nothing to predict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.interactions import Interactions

SIDES = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Events on three sides, over the same vocabularies.

    Args:
        name: how it was made, such as "random" or the name of a split file.
        train: events to learn from.
        valid: held-out pairs for choosing, one row a pair.
        test: held-out pairs for reporting, one row a pair.

    Raises:
        ValueError: the vocabularies differ, a pair is held out twice, or a pair is on two sides (a leak).
    """

    name: str
    train: Interactions
    valid: Interactions
    test: Interactions

    def __post_init__(self) -> None:
        if not (self.train.users == self.valid.users == self.test.users):
            raise ValueError(f"the sides of split {self.name!r} must share one user vocabulary")
        if not (self.train.items == self.valid.items == self.test.items):
            raise ValueError(f"the sides of split {self.name!r} must share one item vocabulary")
        held = {side: np.sort(pair_keys(getattr(self, side))) for side in ("valid", "test")}
        for side, keys in held.items():
            twice = keys[1:][keys[1:] == keys[:-1]]
            if len(twice):
                raise ValueError(f"a pair must be held out once, {self._pair(twice[0])} is twice in {side}")
        train = pair_keys(self.train)
        for one, keys, other in (
            ("train", train, "valid"),
            ("train", train, "test"),
            ("valid", held["valid"], "test"),
        ):
            shared = keys[among(keys, held[other])]
            if len(shared):
                raise ValueError(
                    f"no pair may be in both {one} and {other} of split {self.name!r}, {self._pair(shared[0])} is "
                    f"(with {len(set(shared.tolist())) - 1} more)"
                )

    def _pair(self, key: np.int64) -> str:
        user, item = divmod(int(key), len(self.train.items))
        return f"({self.train.users[user]!r}, {self.train.items[item]!r})"

    def summary(self) -> dict[str, object]:
        """Counts for reports (JSON-able): events and pairs a side, users judged, users and items unseen in training."""
        train = self.train.matrix(binary=True)
        user_seen, item_seen = np.diff(train.indptr) > 0, train.getnnz(axis=0) > 0
        return {
            "name": self.name,
            "n_users": len(self.train.users),
            "n_items": len(self.train.items),
            "train_events": len(self.train),
            "train_pairs": int(train.nnz),
            "valid_pairs": len(self.valid),
            "test_pairs": len(self.test),
            "valid_users": len(np.unique(self.valid.user_idx)),
            "test_users": len(np.unique(self.test.user_idx)),
            "test_users_unseen_in_train": len(np.unique(self.test.user_idx[~user_seen[self.test.user_idx]])),
            "items_unseen_in_train": int((~item_seen).sum()),
            "test_items_unseen_in_train": len(np.unique(self.test.item_idx[~item_seen[self.test.item_idx]])),
        }


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct (user, item) pairs: user and item int64 [n_pairs], first event and its rank, the pair of each event."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    first_event: NDArray[np.int64]
    first_rank: NDArray[np.int64]
    of_event: NDArray[np.int64]

    @classmethod
    def of(cls, interactions: Interactions, rank: NDArray[np.int64] | None = None) -> Pairs:
        """`rank` int64 [n_events] is each event's place in time; file order where not given."""
        events_in_order = np.arange(len(interactions)) if rank is None else np.argsort(rank)
        keys = pair_keys(interactions)
        different, first, of_ordered = np.unique(keys[events_in_order], return_index=True, return_inverse=True)
        of_event = np.empty(len(keys), dtype=np.int64)
        of_event[events_in_order] = of_ordered
        user, item = np.divmod(different, max(len(interactions.items), 1))
        return cls(user, item, events_in_order[first], first.astype(np.int64), of_event)


def pair_keys(interactions: Interactions) -> NDArray[np.int64]:
    """One number a (user, item) pair: int64 [n_events], user_idx * n_items + item_idx."""
    return interactions.user_idx * np.int64(max(len(interactions.items), 1)) + interactions.item_idx


def among(keys: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each key is one of the ordered ones, bool as `keys`."""
    if len(ordered) == 0:
        return np.zeros(keys.shape, dtype=np.bool_)
    found: NDArray[np.bool_] = ordered[np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)] == keys
    return found


def assemble(
    name: str, interactions: Interactions, pairs: Pairs, side: NDArray[np.int64], in_train: NDArray[np.bool_]
) -> Split:
    """The split whose train side is the given events, and whose pairs of side 1 and 2 are held out by first event."""
    valid, test = (np.sort(pairs.first_event[side == number]) for number in (1, 2))
    return Split(name, interactions.where(in_train), interactions.where(valid), interactions.where(test))
