"""Browsing sessions: users meet products by their appeal, look at what they like, and sometimes buy it.

A session has an hour, an intended category and a shelf of products drawn by appeal. The user looks at the products
with the largest utility plus Gumbel noise, which draws without replacement from softmax(utility) over the shelf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.progress import bar
from features.synthetic.world import DAY_S, N_DAYS, START_S, World

EVENT_TYPES = ("view", "cart", "purchase")
SHELF = 192
"""Products put before a user in one session."""

SESSIONS_A_USER = 12.0
MOST_VIEWS = 10
INTENT = 2.5
"""What the intended category of a session adds to its products' utility, in logits."""

CHUNK = 4096
NEVER = np.float32(-np.inf)
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 11, 10, 9, 9, 10, 12, 14, 17, 20, 19, 13, 6], dtype=np.float64)
"""How busy each hour of the day is."""


@dataclass(frozen=True, eq=False)
class Events:
    """What users did, in order of time.

    Args:
        user_idx: int64 [n].
        item_idx: int64 [n].
        event_type: int64 [n], code in `EVENT_TYPES`.
        timestamp: int64 [n], UTC seconds.
    """

    user_idx: NDArray[np.int64]
    item_idx: NDArray[np.int64]
    event_type: NDArray[np.int64]
    timestamp: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_idx)


def browse(world: World) -> Events:
    """Play every user's sessions; the same world gives the same events."""
    rng = np.random.default_rng([world.seed, 3])
    per_user = 2 + rng.poisson(rng.gamma(4.0, (SESSIONS_A_USER - 2) / 4.0, world.n_users))
    user_idx = np.repeat(np.arange(world.n_users), per_user)
    start = _starts(len(user_idx), rng)
    ceiling = world.appeal.cumsum()
    parts = []
    with bar("Browsing sessions", total=len(user_idx)) as progress:
        for first in range(0, len(user_idx), CHUNK):
            rows = slice(first, first + CHUNK)
            parts.append(_play(world, user_idx[rows], start[rows], ceiling, rng))
            progress.advance(len(user_idx[rows]))
    user, item, kind, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((item, kind, user, time))
    return Events(user[order], item[order], kind[order], time[order])


def _starts(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """When sessions begin: any day, mostly in the evening; int64 [n], UTC seconds."""
    day = rng.integers(N_DAYS, size=n)
    hour = rng.choice(len(HOURS), size=n, p=HOURS / HOURS.sum())
    starts: NDArray[np.int64] = START_S + day * DAY_S + hour * 3600 + rng.integers(3600, size=n)
    return starts


def _play(
    world: World,
    user_idx: NDArray[np.int64],
    start: NDArray[np.int64],
    ceiling: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], ...]:
    """Some sessions at once; user, item, event type and time of each event."""
    n = len(user_idx)
    shelf = np.minimum(np.searchsorted(ceiling, rng.random((n, SHELF))), world.n_items - 1)
    utility = world.utility(user_idx[:, None], shelf)
    liking = world.tastes["category"][user_idx]
    intent = (liking + rng.gumbel(size=liking.shape)).argmax(axis=1)
    pull = utility + INTENT * (world.facts["category"][shelf] == intent[:, None])
    pull += rng.gumbel(size=pull.shape)
    pull[world.listed_at[shelf] > start[:, None]] = NEVER

    best = np.argpartition(pull, -MOST_VIEWS, axis=1)[:, -MOST_VIEWS:]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(pull, best, axis=1), axis=1), axis=1)
    item, seen_pull = np.take_along_axis(shelf, best, axis=1), np.take_along_axis(pull, best, axis=1)
    liked = np.take_along_axis(utility, best, axis=1)
    n_views = 1 + rng.poisson(3.0, size=n)
    viewed = (np.arange(MOST_VIEWS) < n_views[:, None]) & (seen_pull > NEVER) & _first_on_shelf(item)

    view_at = start[:, None] + np.cumsum(rng.integers(8, 120, size=item.shape), axis=1)
    # deeper events are likelier for what the user likes more than their usual shelf
    excess = (liked - utility.mean(axis=1, keepdims=True)) / utility.std(axis=1, keepdims=True)
    carted = viewed & (rng.random(item.shape) < _sigmoid(1.4 * excess - 4.0))
    bought = carted & (rng.random(item.shape) < _sigmoid(1.0 * excess - 2.2))
    cart_at = view_at + rng.integers(3, 8, size=item.shape)
    buy_at = view_at[:, -1:] + rng.integers(60, 400, size=(n, 1)) + np.arange(MOST_VIEWS)

    user = np.broadcast_to(user_idx[:, None], item.shape)
    masks = ((viewed, view_at), (carted, cart_at), (bought, buy_at))
    return (
        np.concatenate([user[mask] for mask, _ in masks]),
        np.concatenate([item[mask] for mask, _ in masks]),
        np.concatenate([np.full(int(mask.sum()), code) for code, (mask, _) in enumerate(masks)]),
        np.concatenate([at[mask] for mask, at in masks]),
    )


def _first_on_shelf(item: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where an item stands in its row for the first time; bool like `item` [n, m]."""
    again = np.zeros(item.shape, dtype=bool)
    for column in range(1, item.shape[1]):
        again[:, column] = (item[:, :column] == item[:, column : column + 1]).any(axis=1)
    return ~again


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1.0 / (1.0 + np.exp(-x))).astype(np.float32)
