"""Events of several types: drawn at random, or so that only views tell a user's taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.bench.indexed import bare_catalog
from recsys.held_out import SIDES, Split
from recsys.models.knowledge import Knowledge
from recsys.other_behavior import other_behavior

Row = tuple[int, int, str, float]


def events_of(rows: Sequence[Row], n_users: int, n_items: int, *, timed: bool = False) -> Interactions:
    users, items = (Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in (("u", n_users), ("i", n_items)))
    user, item, kind, when = zip(*rows, strict=True)
    ones = np.ones(len(rows), dtype=np.float32)
    return Interactions(
        users,
        items,
        np.array(user),
        np.array(item),
        np.array(kind, dtype=object),
        ones,
        np.array(when, dtype=np.float64) if timed else None,
    )


def likes_of(events: Interactions, sides: Sequence[int]) -> Split:
    """A split of the likes alone: the side of each event by number, -1 for none."""
    side = np.where(events.event_type == "like", np.array(sides), -1)
    return Split("likes", *(events.where(side == number) for number in range(len(SIDES))))


def random_world(seed: int) -> tuple[list[Row], Interactions, Split]:
    """Likes, views and carts at random, of the same pairs too; some likes are on no side, some items in no training."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        (int(user), int(item), str(kind), float(rng.integers(20)) if rng.random() < 0.9 else float("nan"))
        for kind, share in (("like", 0.25), ("view", 0.3), ("cart", 0.1))
        for user, item in zip(*np.nonzero(rng.random((12, 15)) < share), strict=True)
    ]
    events = events_of(rows, 12, 15, timed=True)
    sides = rng.choice([0, 1, 2, -1], p=[0.5, 0.15, 0.15, 0.2], size=len(rows))
    sides[(events.item_idx < 3) & (sides == 0)] = 2
    return rows, events, likes_of(events, sides.tolist())


def quiet_world() -> tuple[Split, Knowledge]:
    """Items 0-9 are liked by all alike, 10-29 by one half of the users, 30-49 by the other. The last 40 users have
    liked only what all like, and are asked for what their half likes: only what they viewed tells which half it is.
    """
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    sides: list[int] = []
    for user in range(120):
        own = rng.permutation(np.arange(20)) + (10 if user % 2 else 30)
        rows.append((user, int(rng.integers(10)), "like", 0.0))
        rows += [(user, int(item), "like", 0.0) for item in own[:6]]
        rows += [(user, int(item), "view", 0.0) for item in own[6:14]]
        sides += [0, *([0] * 6 if user < 80 else [1, 1, 1, 2, 2, 2]), *([-1] * 8)]
    events = events_of(rows, 120, 50)
    split = likes_of(events, sides)
    told = other_behavior(events, split, ("view",)).events
    return split, replace(Knowledge.of_ids(bare_catalog(events.items)), other_behavior=told)
