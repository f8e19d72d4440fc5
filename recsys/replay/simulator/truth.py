"""The exact value of a policy in a simulated shop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.policy import TablePolicy
from recsys.replay.simulator.world import World

F64 = NDArray[np.float64]


def true_value(world: World, policy: TablePolicy) -> float:
    """Expected clicks a slot, by summation over stages, groups, slots and items.

    Exact for policies that fill slots independently, and for the position model also for lists without repeats, as
    clicks then depend on the marginal probabilities alone.

    Raises:
        ValueError: lists without repeats under a click model in which slots depend on each other.
    """
    if type(policy) is not TablePolicy and world.clicks != "position":
        raise ValueError(f"no closed form for {policy.name} where clicks depend on what stands above")
    table = policy.table.reshape(world.n_positions, world.n_groups, world.n_items)
    # what a look at a slot is worth, and how probably the slot is looked at: [stages, groups, slots]
    clicked = np.einsum("pga,sga->sgp", table, world.attraction)
    if world.clicks == "position":
        looked = np.broadcast_to(world.examination, clicked.shape)
    else:
        left = clicked if world.clicks == "cascade" else _stopped(world, table)
        looked = np.concatenate([np.ones_like(left[:, :, :1]), np.cumprod(1.0 - left, axis=2)[:, :, :-1]], axis=2)
    of_visit = (looked * clicked).sum(axis=2) / world.n_positions
    return float((world.group_share * of_visit).sum() / len(world.group_share))


def _stopped(world: World, table: F64) -> F64:
    """Probability of not looking on after a slot that was looked at (DBN)."""
    satisfied = np.einsum("pga,sga,a->sgp", table, world.attraction, world.satisfaction)
    found: F64 = 1.0 - world.persistence * (1.0 - satisfied)
    return found
