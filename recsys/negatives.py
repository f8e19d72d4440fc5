"""Which items a batch of users is trained against: the whole catalog while it is small, then a bounded sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.held_out import among
from recsys.parallel import Team


@dataclass(frozen=True, eq=False)
class Batch:
    """Some users, their liked items, and the candidates that all of them share.

    Args:
        users: int64 [n_users]; rows of the users.
        items: int64 [n_candidates]; rows of the candidates, rising.
        log_inclusion: float32 [n_candidates]; log of the probability that the item became a candidate (0: certain).
        user: int64 [n_pairs]; position in `users` of each liked pair.
        item: int64 [n_pairs]; position in `items` of each liked pair.
        weight: float32 [n_pairs]; entry of the liked pair in the matrix it was drawn from.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    log_inclusion: NDArray[np.float32]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    weight: NDArray[np.float32]

    def part(self, team: Team) -> tuple[Batch, NDArray[np.bool_], float]:
        """One process's users with their pairs, against all candidates.

        Returns:
            The part; which of the pairs are in it, bool [n_pairs]; and the weight of the part's mean loss in a mean
            over the team that shall be the whole batch's: the share of the pairs' weights x the size of the team.
        """
        if team.size == 1:
            return self, np.ones(len(self.user), dtype=np.bool_), 1.0
        rows = team.part(len(self.users))
        mine = self.user % team.size == team.rank
        share = float(self.weight[mine].sum() / self.weight.sum()) * team.size
        return (
            Batch(
                self.users[rows],
                self.items,
                self.log_inclusion,
                self.user[mine] // team.size,
                self.item[mine],
                self.weight[mine],
            ),
            mine,
            share,
        )


def draw_batch(
    liked: sparse.csr_matrix, users: NDArray[np.int64], *, max_candidates: int, rng: np.random.Generator
) -> Batch:
    """The pairs of some users, with candidates.

    Only items that somebody likes are candidates: a new item would be a negative in every batch and never a positive,
    and so learn to be shown to nobody. Up to `max_candidates` such items, all of them are candidates. Beyond, the
    candidates are liked items of the batch (at most half; where there are more, a random half stays and the pairs of
    the others wait for another epoch) and a uniform sample of the rest, so that scores take at most
    len(users) * max_candidates numbers whatever the catalog.

    Args:
        liked: [n_users, n_items]; a nonzero entry is a pair to learn.
        users: int64 [n]; rows of `liked`.
        max_candidates: at least 2.
        rng: source of chance.
    """
    rows = liked[users]
    user = np.repeat(np.arange(len(users), dtype=np.int64), np.diff(rows.indptr))
    item_idx = rows.indices.astype(np.int64)
    known = np.bincount(liked.indices, minlength=liked.shape[1]) > 0
    if known.sum() <= max_candidates:
        items = np.flatnonzero(known)
        chance = np.zeros(len(items), dtype=np.float32)
        return Batch(users, items, chance, user, np.searchsorted(items, item_idx), rows.data)
    certain = np.unique(item_idx)
    if len(certain) > max_candidates // 2:
        certain = np.sort(rng.choice(certain, max_candidates // 2, replace=False))
    rest = known.copy()
    rest[certain] = False
    pool = np.flatnonzero(rest)
    n_sampled = min(max_candidates - len(certain), len(pool))
    items = np.concatenate([certain, rng.choice(pool, n_sampled, replace=False)])
    chance = np.zeros(len(items), dtype=np.float32)
    chance[len(certain) :] = np.log(n_sampled / len(pool))
    order = np.argsort(items)
    items, chance = items[order], chance[order]
    kept = np.isin(item_idx, certain)
    return Batch(users, items, chance, user[kept], np.searchsorted(items, item_idx[kept]), rows.data[kept])


def batch_of_pairs(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    weight: NDArray[np.float32],
    *,
    known: NDArray[np.int64],
    n_others: int,
    rng: np.random.Generator,
) -> Batch:
    """Some pairs, with their own items and a uniform sample of the others as candidates.

    Args:
        user: int64 [n_pairs].
        item: int64 [n_pairs].
        weight: float32 [n_pairs].
        known: int64, rising; the items that somebody likes, among which the others are drawn (see `draw_batch`).
        n_others: how many of them, all where there are not so many.
        rng: source of chance.
    """
    users, of_user = np.unique(user, return_inverse=True)
    certain = np.unique(item)
    pool = np.setdiff1d(known, certain, assume_unique=True)
    n_sampled = min(n_others, len(pool))
    items = np.concatenate([certain, rng.choice(pool, n_sampled, replace=False)])
    chance = np.zeros(len(items), dtype=np.float32)
    if n_sampled:
        chance[len(certain) :] = np.log(n_sampled / len(pool))
    order = np.argsort(items)
    return Batch(users, items[order], chance[order], of_user, np.searchsorted(items[order], item), weight)


def draw_others(
    liked: sparse.csr_matrix,
    users: NDArray[np.int64],
    chance: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    rounds: int = 10,
) -> NDArray[np.int64]:
    """One item for each user that the user does not like, int64 [n].

    An item that the user likes is drawn again, up to `rounds` times; after that it stays (a user who likes nearly
    everything has hardly another item, and a few false negatives do no harm).

    Args:
        liked: [n_users, n_items] with sorted indices; nonzero entries are liked pairs.
        users: int64 [n]; rows of `liked`, in any order and number.
        chance: float64 [n_items], rising to 1: the cumulated probabilities of the items.
        rng: source of chance.
        rounds: most draws of an item.
    """
    n_items = np.int64(liked.shape[1])
    keys = np.repeat(np.arange(liked.shape[0]), np.diff(liked.indptr)) * n_items + liked.indices
    drawn = np.searchsorted(chance, rng.random(len(users)), side="right")
    again = np.flatnonzero(among(users * n_items + drawn, keys))
    for _ in range(rounds - 1):
        if len(again) == 0:
            break
        drawn[again] = np.searchsorted(chance, rng.random(len(again)), side="right")
        again = again[among(users[again] * n_items + drawn[again], keys)]
    return drawn.astype(np.int64)
