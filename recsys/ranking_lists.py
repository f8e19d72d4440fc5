"""The k best items of each user, with ties broken by chance instead of by row number.

A scorer that knows nothing gives many items the same score. Were ties broken by row, it would show the first rows of
the catalog, which in many shops are the oldest and best sold items, and look good by accident. Here equal scores are
ordered by a seeded random permutation of the items, turned by a seeded random amount for each user, so that a constant
scorer does exactly what a random one does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.vocabulary import Vocabulary
from recsys.scorer import Scorer
from recsys.threads import side_by_side

_LOW = np.int64(0xFFFFFFFF)
_NOT_SHOWN = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class TieOrder:
    """Who comes first among equals.

    Args:
        place: int64 [n_items]; a permutation: the place of each item among equals.
        item_at: int64 [n_items]; its inverse.
        turn: int64 [n_users]; how far the permutation is turned for each user.
    """

    place: NDArray[np.int64]
    item_at: NDArray[np.int64]
    turn: NDArray[np.int64]

    @classmethod
    def of(cls, n_users: int, n_items: int, *, seed: int) -> TieOrder:
        """The order drawn under a seed."""
        rng = np.random.default_rng(seed)
        item_at = rng.permutation(n_items)
        place = np.empty(n_items, dtype=np.int64)
        place[item_at] = np.arange(n_items)
        return cls(place, item_at, rng.integers(max(n_items, 1), size=n_users))


def top_lists(
    scores: NDArray[np.float32],
    user_idx: NDArray[np.int64],
    k: int,
    ties: TieOrder,
    *,
    hidden: sparse.csr_matrix | None = None,
    only: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Item rows by falling score.

    Score and tie place are packed into one int64 (the float's bits, made monotone, above the place), so that any
    sorting algorithm on any machine gives the same list.

    Args:
        scores: float32 [n, n_items], finite.
        user_idx: int64 [n]; the users the rows belong to.
        k: length of the lists.
        ties: the order among equal scores.
        hidden: [n_users, n_items]; a user's nonzero entries are not shown.
        only: bool [n_items]; the items that may be shown, all where not given.

    Returns:
        int64 [n, min(k, n_items)], best first, -1 where no more items may be shown.
    """
    n, n_items = scores.shape
    width = min(k, n_items)
    if n == 0 or width == 0:
        return np.full((n, width), -1, dtype=np.int64)
    shown = scores.astype(np.float32) + np.float32(0.0)  # a copy; + 0 makes -0.0 equal to 0.0
    if hidden is not None:
        own = hidden[user_idx].tocoo()
        shown[own.row, own.col] = -np.inf
    if only is not None:
        shown[:, ~only] = -np.inf
    items = _in_the_running(shown, width)
    keys = _keys(np.take_along_axis(shown, items, axis=1), items, user_idx, ties)
    keys = np.sort(keys, axis=1)[:, ::-1][:, :width]
    turned = n_items - 1 - (keys & _LOW) - ties.turn[user_idx][:, None]
    best = ties.item_at[np.where(turned < 0, turned + n_items, turned).clip(0, n_items - 1)]
    return np.where(keys == _NOT_SHOWN, -1, best)


def _in_the_running(shown: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    """Items of each user that may be among the best: all that score no less than the user's `width`-th best.

    Args:
        shown: float32 [n, n_items]; -inf where an item may not be shown.
        width: length of the lists.

    Returns:
        int64 [n, m], each item once a row; m is as the user with most ties needs it, and others have worse items too.
    """
    n_items = shown.shape[1]
    floor = np.partition(shown, n_items - width, axis=1)[:, n_items - width, None]
    m = max(width, int(((shown >= floor) & (shown > -np.inf)).sum(axis=1).max()))
    if m == n_items:
        return np.broadcast_to(np.arange(n_items), shown.shape)
    return np.argpartition(shown, n_items - m, axis=1)[:, n_items - m :]


def _keys(
    scores: NDArray[np.float32], items: NDArray[np.int64], user_idx: NDArray[np.int64], ties: TieOrder
) -> NDArray[np.int64]:
    """One number a score and item, higher for the better; int64 of their shape."""
    bits = scores.view(np.int32)
    keys = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64) << 32
    n_items = len(ties.place)
    place = (ties.place[items] + ties.turn[user_idx][:, None]) % n_items
    return np.where(scores == -np.inf, _NOT_SHOWN, keys | (n_items - 1 - place))


def rank_users(
    scorer: Scorer,
    users: NDArray[np.int64],
    hidden: sparse.csr_matrix,
    vocabularies: tuple[Vocabulary, Vocabulary],
    *,
    k: int,
    chunk: int,
    seed: int,
    some: NDArray[np.bool_],
    only: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank the whole catalog for users, and for some of them a part of it, scoring each user once.

    Args:
        scorer: the model.
        users: int64 [n].
        hidden: [n_users, n_items]; a user's nonzero entries are not shown.
        vocabularies: of users and of items, to name them in errors.
        k: length of the lists.
        chunk: most users scored at once by each thread; fewer where their scores would pass 2^23 numbers.
        seed: of ties.
        some: bool [n]; the users who also get a list of a part of the catalog.
        only: bool [n_items]; that part.

    Returns:
        int64 [n, min(k, n_items)] over all items, int64 [some.sum(), min(k, n_items)] over the part; as `top_lists`.

    Raises:
        ValueError: scores of the wrong shape, or one that is not finite.
    """
    n_users, n_items = hidden.shape
    ties = TieOrder.of(n_users, n_items, seed=seed)
    step = max(1, min(chunk, 2**23 // max(n_items, 1)))

    def ranked(start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row, also = users[start : start + step], some[start : start + step]
        scores = _checked(scorer, row, vocabularies)
        return (
            top_lists(scores, row, k, ties, hidden=hidden),
            top_lists(scores[also], row[also], k, ties, hidden=hidden, only=only),
        )

    nothing = np.full((0, min(k, n_items)), -1, dtype=np.int64)
    lists = [(nothing, nothing), *side_by_side(ranked, range(0, len(users), step))]
    full, part = (np.concatenate(each) for each in zip(*lists, strict=True))
    return full, part


def _checked(
    scorer: Scorer, users: NDArray[np.int64], vocabularies: tuple[Vocabulary, Vocabulary]
) -> NDArray[np.float32]:
    scores = np.asarray(scorer.score(users), dtype=np.float32)
    user_ids, item_ids = vocabularies
    if scores.shape != (len(users), len(item_ids)):
        raise ValueError(
            f"scorer {scorer.name!r} must return scores of shape {(len(users), len(item_ids))}, got {scores.shape}"
        )
    if not np.isfinite(scores).all():
        row, item = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise ValueError(
            f"scores must be finite, scorer {scorer.name!r} gave {scores[row, item]} to user "
            f"{user_ids[int(users[row])]!r} and item {item_ids[item]!r}"
        )
    return scores
