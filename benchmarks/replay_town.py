"""A town for the loop benchmark: visitors with known tastes, a bundle that half knows them, and their traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle
from recsys.exploration import ExplorationConfig
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.replay.log import Log
from recsys.replay.plackett_luce import slot_probabilities
from recsys.replay.simulator.world import World, make_world
from recsys.slots import fill

SLOTS = 4
TEMPERATURE, EPSILON = 1.0, 0.1


@dataclass(frozen=True, eq=False)
class Town:
    """Visitors, their true tastes, and a bundle that knows them roughly."""

    world: World
    bundle: Bundle
    n_users: int

    def kind(self, user: int) -> int:
        """The group of a visitor."""
        return user % self.world.n_groups

    def order(self, kind: int) -> list[int]:
        """What the bundle would show a visitor of a kind, best first."""
        answer = BundleRecommender(self.bundle).recommend(UserState(f"user-{kind}"), self.world.n_items)
        return [self.bundle.items.idx(one.item_id) for one in answer]

    def rate(self, temperature: float, epsilon: float = 0.0) -> float:
        """True clicks a slot where lists are drawn by place to the power of -1 / temperature, or evenly."""
        n = self.world.n_items
        places = np.arange(1.0, n + 1.0)
        drawn = slot_probabilities(-np.log(places) / temperature, SLOTS) if temperature else np.eye(SLOTS, n)
        table = (1 - epsilon) * drawn + epsilon / n
        total = 0.0
        for kind in range(self.world.n_groups):
            liked = self.world.attraction[0, kind, self.order(kind)]
            total += float(self.world.examination @ table @ liked) / SLOTS
        return total / self.world.n_groups


def make_town(folder: Path, *, n_users: int, seed: int) -> Town:
    """A bundle whose users are of six kinds; what it believes of their tastes is half true."""
    world = make_world(n_items=20, n_groups=6, n_positions=SLOTS, click_rate=0.2, seed=seed)
    rng = np.random.default_rng(seed)
    liked = np.log(world.attraction[0] / (1 - world.attraction[0]))
    believed = liked + rng.normal(0.0, 0.8, liked.shape)
    n = world.n_items
    none = np.full((n, 1), -1), np.zeros((n, 1), dtype=np.float32)
    path = write_bundle(
        folder / "bundle",
        items=world.items,
        users=Vocabulary(tuple(f"user-{row}" for row in range(n_users))),
        item_embeddings=believed.T.astype(np.float32),
        user_embeddings=np.eye(6, dtype=np.float32)[np.arange(n_users) % 6],
        text_vectors=np.zeros((n, 0), dtype=np.float32),
        image_vectors=np.zeros((n, 0), dtype=np.float32),
        popularity=np.ones(n, dtype=np.float32),
        match_scores=np.full(n, np.nan, dtype=np.float32),
        display=(
            {"item_id": f"item-{row}", "title": f"Item {row}", "description": "", "price": 1.0, "available": True,
             "image": "", "attributes": {}}
            for row in range(n)
        ),
        seen=(np.zeros(n_users + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)),
        similar_idx=none[0],
        similar_score=none[1],
        neighbors={},
        co_idx=none[0],
        co_count=np.zeros((n, 1), dtype=np.int32),
        config={},
        metrics={},
        fingerprints={},
    )  # fmt: skip
    return Town(world, Bundle.open(path), n_users)


def drawn_traffic(town: Town, n_requests: int, *, seed: int) -> Log:
    """Fresh visits, answered in this process as the service answers them: the recommender's order, its slots filled
    with exploration, the same probabilities logged; every visit, draw and click by the seed.
    """
    rng = np.random.default_rng([seed, 22])
    users = rng.integers(town.n_users, size=n_requests)
    draws = rng.integers(2**63, size=n_requests)
    orders = np.array([town.order(kind) for kind in range(town.world.n_groups)])
    exploration = ExplorationConfig(temperature=TEMPERATURE, epsilon=EPSILON, pool=town.world.n_items)
    items = np.empty((n_requests, SLOTS), dtype=np.int32)
    propensity, marginal = np.empty((n_requests, SLOTS)), np.empty((n_requests, SLOTS))
    kinds = users % town.world.n_groups
    for number, draw in enumerate(draws.tolist()):
        filled = fill(town.world.n_items, SLOTS, exploration=exploration, seed=draw)
        items[number] = orders[kinds[number], filled.places]
        propensity[number], marginal[number] = filled.conditional, filled.marginal
    chance = town.world.examination * town.world.attraction[0, kinds[:, None], items]
    return as_log(town, users, items, rng.random(items.shape) < chance, propensity=propensity, marginal=marginal)


def as_log(
    town: Town,
    users: NDArray[np.int64],
    items: NDArray[np.int32],
    clicked: NDArray[np.bool_],
    *,
    propensity: NDArray[np.float64],
    marginal: NDArray[np.float64],
) -> Log:
    """Lists of some requests as a log, a row a slot; all arrays but `users` are [requests, slots]."""
    n = len(users)
    return Log(
        name="town",
        items=town.world.items,
        item_idx=items.ravel(),
        position=np.tile(np.arange(SLOTS, dtype=np.int16), n),
        reward=clicked.ravel().astype(np.float64),
        propensity=propensity.ravel(),
        request_idx=np.repeat(np.arange(n), SLOTS),
        user_idx=np.repeat(users, SLOTS),
        group=np.zeros(n * SLOTS, dtype=np.int16),
        timestamp=np.repeat(np.arange(n, dtype=np.float64), SLOTS),
        users=tuple(f"user-{user}" for user in range(town.n_users)),
        given_above=True,
        marginal=marginal.ravel(),
    )
