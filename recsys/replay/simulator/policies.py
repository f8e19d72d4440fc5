"""Policies over a simulated shop: from blind chance to knowing every taste."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.plackett_luce import PlackettLuce
from recsys.replay.policy import TablePolicy
from recsys.replay.simulator.world import World

F64 = NDArray[np.float64]


def uniform(world: World, name: str = "uniform") -> TablePolicy:
    """Every item alike."""
    cells = world.n_positions * world.n_groups
    return TablePolicy(name, np.full((cells, world.n_items), 1.0 / world.n_items))


def tasteful(
    world: World, *, strength: float, noise: float = 0.0, seed: int = 0, name: str = "tasteful"
) -> TablePolicy:
    """Softmax over the logits of the mean attraction: strength 0 is uniform, a negative one shows what is liked least.

    Args:
        world: the shop.
        strength: multiplies the logits.
        noise: standard deviation of what the policy believes wrongly, in logits.
        seed: of the noise.
        name: of the policy.
    """
    scores = strength * _logits(world, noise, seed)
    chance = np.exp(scores - scores.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    return TablePolicy(name, np.tile(chance, (world.n_positions, 1)))


def tasteful_lists(
    world: World, *, strength: float, noise: float = 0.0, seed: int = 0, name: str = "lists"
) -> PlackettLuce:
    """Lists without repeats, drawn by the same scores."""
    return PlackettLuce(name, strength * _logits(world, noise, seed), world.n_positions)


def _logits(world: World, noise: float, seed: int) -> F64:
    mean = world.attraction.mean(axis=0)
    found: F64 = np.log(mean / (1 - mean)) + noise * np.random.default_rng([seed, 13]).normal(size=mean.shape)
    return found
