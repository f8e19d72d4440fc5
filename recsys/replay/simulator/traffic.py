"""Traffic of a simulated shop under a logging policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log
from recsys.replay.plackett_luce import PlackettLuce
from recsys.replay.policy import TablePolicy
from recsys.replay.simulator.world import STAGES, World

F64 = NDArray[np.float64]
START_S = 1_700_000_000.0
LENGTH_S = 7 * 86_400.0
_REQUESTS = 65_536


def simulate(world: World, policy: TablePolicy, n_requests: int, *, seed: int, name: str = "simulated") -> Log:
    """A week of requests, each answered by the policy and read by the click model.

    Args:
        world: the shop.
        policy: over the world's cells (position major, then group); a `PlackettLuce` fills lists without repeats, and
            the log's propensities are then given what stands above.
        n_requests: how many.
        seed: of everything random.
        name: of the log.
    """
    rng = np.random.default_rng([seed, 12])
    given_above = isinstance(policy, PlackettLuce)
    when = np.sort(rng.random(n_requests))
    parts = []
    for start in range(0, n_requests, _REQUESTS):
        moment = when[start : start + _REQUESTS]
        stage = np.minimum((moment * STAGES).astype(np.int64), STAGES - 1)
        ceiling = world.group_share.cumsum(axis=1)
        group = (rng.random(len(moment))[:, None] > ceiling[stage]).sum(axis=1).clip(max=world.n_groups - 1)
        items = _fill(world, policy, group, rng)
        parts.append((stage, group, items, _read(world, stage, group, items, rng)))
    stage, group, items, clicked = (np.concatenate(column) for column in zip(*parts, strict=True))
    k = world.n_positions
    log = Log(
        name=name,
        items=world.items,
        item_idx=items.astype(np.int32).ravel(),
        position=np.tile(np.arange(k, dtype=np.int16), n_requests),
        reward=clicked.astype(np.float64).ravel(),
        propensity=np.ones(n_requests * k),
        request_idx=np.repeat(np.arange(n_requests), k),
        user_idx=np.full(n_requests * k, -1),
        group=np.repeat(group, k).astype(np.int16),
        timestamp=np.repeat(START_S + LENGTH_S * when, k),
        groups=world.groups,
        given_above=given_above,
    )
    for rows in log.chunks():
        log.propensity[rows.within] = policy.of_logged(rows, given_above=given_above)
    return log


def _fill(world: World, policy: TablePolicy, group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Lists for requests, int64 [requests, positions]."""
    if isinstance(policy, PlackettLuce):
        return policy.draw(rng, group, world.n_positions)
    items = np.empty((len(group), world.n_positions), dtype=np.int64)
    for position in range(world.n_positions):
        for number in range(world.n_groups):
            at = np.flatnonzero(group == number)
            ceiling = policy.table[position * world.n_groups + number].cumsum()
            drawn = np.searchsorted(ceiling, rng.random(len(at)) * ceiling[-1], side="right")
            items[at, position] = np.minimum(drawn, world.n_items - 1)
    return items


def _read(
    world: World, stage: NDArray[np.int64], group: NDArray[np.int64], items: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Clicks, bool [requests, positions]."""
    attracted = rng.random(items.shape) < world.attraction[stage[:, None], group[:, None], items]
    if world.clicks == "position":
        return attracted & (rng.random(items.shape) < world.examination)
    if world.clicks == "cascade":
        goes_on = ~attracted
    else:
        satisfied = attracted & (rng.random(items.shape) < world.satisfaction[items])
        goes_on = ~satisfied & (rng.random(items.shape) < world.persistence)
    looked = np.ones(items.shape, dtype=np.bool_)
    looked[:, 1:] = np.logical_and.accumulate(goes_on, axis=1)[:, :-1]
    return attracted & looked
