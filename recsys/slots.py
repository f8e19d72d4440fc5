"""The slots of an answer, filled from the top: pins stand where they are pinned, caps are kept, chance may choose.

At each slot that no pin takes, an item is open if it is left and no cap is full for it. Without exploration the first
open item is taken. Where none is open the caps give way, and the first item left is taken: a cap moves items down, it
never leaves a slot empty. With exploration the item is drawn among the open ones of the pool (`recsys/exploration.py`),
under the same conditions, so the probabilities are those of what really happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.draws import Draws
from recsys.exploration import COLDEST, ExplorationConfig, place_weights


@dataclass(frozen=True, eq=False)
class Cap:
    """At most so many items of a group.

    Args:
        groups: the groups of each candidate, by number; an item may be in several, or in none.
        at_most: items of one group, >= 1.
    """

    groups: Sequence[Sequence[int]]
    at_most: int


@dataclass(frozen=True, eq=False)
class Filled:
    """What stands in the slots.

    Args:
        places: int64 [slots]; places among the candidates.
        conditional: float64 [slots] in (0, 1]; probability of each given those above.
        marginal: float64 [slots]; probability of each in its slot over all that could have come out; NaN where it is
            not known.
        gave_way: slots in which a cap was broken as nothing else was left.
    """

    places: NDArray[np.int64]
    conditional: NDArray[np.float64]
    marginal: NDArray[np.float64]
    gave_way: int


def fill(
    n: int,
    k: int,
    *,
    caps: Sequence[Cap] = (),
    pins: Mapping[int, int] | None = None,
    exploration: ExplorationConfig | None = None,
    seed: int = 0,
) -> Filled:
    """Fill k slots from n candidates.

    Args:
        n: candidates, best first.
        k: slots; fewer where the candidates do not suffice.
        caps: kept where possible; pinned items count.
        pins: slot → candidate, both from 0; different candidates. One past the k slots is not shown; one past the
            last candidate moves up to where the list ends.
        exploration: None, or off: the first open item is taken.
        seed: of the draws.
    """
    walk = _Walk(n, k, caps, pins or {})
    if exploration is None or exploration.off:
        return walk.first()
    return walk.drawn(exploration, np.random.default_rng(seed))


class _Walk:
    """One way down the slots, or many at once."""

    def __init__(self, n: int, k: int, caps: Sequence[Cap], pins: Mapping[int, int]) -> None:
        self._n, self._k, self._caps = n, min(k, n), caps
        self._pins = _in_reach({slot: item for slot, item in pins.items() if slot < k}, self._k)

    @cached_property
    def _free(self) -> NDArray[np.bool_]:
        """Whether no pin takes an item, bool [n]."""
        free = np.ones(self._n, dtype=np.bool_)
        free[list(self._pins.values())] = False
        return free

    def first(self) -> Filled:
        """The first open item at each slot."""
        left = [(cap.groups, cap.at_most, dict[int, int]()) for cap in self._caps]  # of each group, once it is met

        def taken(item: int) -> bool:
            room = [(of, group, of.get(group, most)) for groups, most, of in left for group in groups[item]]
            for _, _, n in room:
                if n <= 0:
                    return False
            for of, group, n in room:
                of[group] = n - 1
            return True

        pinned = set(self._pins.values())
        for groups, most, of in left:  # they count, and stand also where a cap is full
            for group in (group for item in pinned for group in groups[item]):
                of[group] = of.get(group, most) - 1
        n_open = self._k - len(pinned)
        opened, blocked = list[int](), list[int]()
        for item in range(self._n):
            if len(opened) == n_open:
                break
            if item not in pinned:  # a full cap stays full, so nobody need look at what is blocked again
                (opened if taken(item) else blocked).append(item)
        gave_way = n_open - len(opened)  # caps are full of all that is left
        rest = iter(opened + blocked[:gave_way])
        places = [self._pins[slot] if slot in self._pins else next(rest) for slot in range(self._k)]
        ones = np.ones(len(places))
        return Filled(np.array(places, dtype=np.int64), ones, ones, gave_way)

    def drawn(self, exploration: ExplorationConfig, rng: np.random.Generator) -> Filled:
        """Drawn items, with their probabilities."""
        pool = np.flatnonzero(self._free[: exploration.pool])
        n_open = self._k - len(self._pins)
        if not self._caps and exploration.temperature >= COLDEST and 0 < n_open <= len(pool):
            return self._at_once(exploration, pool, n_open, rng)
        shown, conditional, gave_way = self._many(exploration, rng.random((1, self._k)))
        target = shown[0]
        marginal = np.full(len(target), np.nan)
        if exploration.marginal_draws:
            chance = rng.random((exploration.marginal_draws, self._k))
            _, to_target, _ = self._many(exploration, chance, target)
            means = to_target.mean(axis=0)
            marginal = np.where(means > 0, means, np.nan)
        if len(target):
            marginal[0] = conditional[0, 0]
        return Filled(target, conditional[0], marginal, int(gave_way[0]))

    def _at_once(
        self, exploration: ExplorationConfig, pool: NDArray[np.int64], n_open: int, rng: np.random.Generator
    ) -> Filled:
        """As `drawn`, where no cap looks at what stands above."""
        weight = place_weights(self._n, exploration.temperature)[pool]
        shown = Draws.of(weight, n_open, 1, exploration.epsilon, rng)
        conditional = shown.conditional(shown.lists)[0]
        marginal = np.full(n_open, np.nan)
        if exploration.marginal_draws:
            others = Draws.of(weight, n_open, exploration.marginal_draws, exploration.epsilon, rng)
            means = others.conditional(shown.lists).mean(axis=0)
            marginal = np.where(means > 0, means, np.nan)
        marginal[0] = conditional[0]
        is_open = ~np.isin(np.arange(self._k), list(self._pins))
        places, ones = np.zeros(self._k, dtype=np.int64), np.ones(self._k)
        places[list(self._pins)] = list(self._pins.values())
        places[is_open] = pool[shown.lists[0]]
        chances, overall = ones.copy(), ones.copy()
        chances[is_open], overall[is_open] = conditional, marginal
        return Filled(places, chances, overall, 0)

    def _many(
        self, exploration: ExplorationConfig, chance: NDArray[np.float64], target: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Many lists at once, one a row of `chance`, float64 [draws, k] in [0, 1).

        Returns:
            int64 [draws, k] the lists; float64 [draws, k] the probability, given the items above, of the item drawn,
            or of `target`'s item at that slot where a target is given; int64 [draws] how often caps gave way.
        """
        draws, rows, pool = len(chance), np.arange(len(chance)), min(exploration.pool, self._n)
        weight = place_weights(pool, exploration.temperature)
        left = np.repeat(self._free[None, :pool], draws, axis=0)
        below: list[set[int]] = [set() for _ in range(draws)]  # items taken from below the pool
        members = [_one_hot(cap.groups) for cap in self._caps]
        counts = [np.repeat(self._pinned_in(member)[None], draws, axis=0) for member in members]
        belief = np.repeat([[1 - exploration.epsilon, exploration.epsilon]], draws, axis=0)
        lists = np.zeros((draws, self._k), dtype=np.int64)
        probability = np.ones((draws, self._k))
        gave_way = np.zeros(draws, dtype=np.int64)
        for slot in range(self._k):
            if slot in self._pins:
                lists[:, slot] = self._pins[slot]
                continue
            full = [(count >= cap.at_most).astype(np.float32) for cap, count in zip(self._caps, counts, strict=True)]
            is_open = left.copy()
            for member, at in zip(members, full, strict=True):
                is_open &= (at @ member[:pool].T) == 0
            stuck = np.logical_not(is_open.any(axis=1))
            by_place, by_chance = _choices(is_open, weight, exploration)
            mixed = belief[:, :1] * by_place + belief[:, 1:] * by_chance
            summed = np.cumsum(mixed, axis=1)
            item = (summed <= chance[:, slot : slot + 1] * summed[:, -1:]).sum(axis=1)
            for row in np.flatnonzero(stuck).tolist():
                blocked = [at[row] @ member.T > 0 for at, member in zip(full, members, strict=True)]
                item[row], forced = self._below(left[row], below[row], blocked)
                gave_way[row] += forced
            asked = item if target is None else np.full(draws, target[slot])
            inside = np.minimum(asked, pool - 1)
            drawn = np.where(asked < pool, mixed[rows, inside], 0.0)
            probability[:, slot] = np.where(stuck, asked == item, drawn)
            taken = np.minimum(item, pool - 1)
            told = np.stack([by_place[rows, taken], by_chance[rows, taken]], axis=1)
            belief = np.where(stuck[:, None], belief, belief * told)
            belief /= belief.sum(axis=1, keepdims=True)
            in_pool = item < pool
            left[rows[in_pool], item[in_pool]] = False
            for row in np.flatnonzero(~in_pool).tolist():
                below[row].add(int(item[row]))
            counts = [count + member[item] for member, count in zip(members, counts, strict=True)]
            lists[:, slot] = item
        return lists, probability, gave_way

    def _below(self, left: NDArray[np.bool_], taken: set[int], blocked: list[NDArray[np.bool_]]) -> tuple[int, bool]:
        """The item where none of the pool is open: the first open one below it, or the first left of all, for which
        the caps give way; and whether they did.
        """
        rest = self._free.copy()
        rest[: len(left)] = left
        rest[list(taken)] = False
        is_open = rest.copy()
        for by_cap in blocked:
            is_open &= ~by_cap
        forced = not is_open.any()
        return int(np.argmax(rest if forced else is_open)), forced

    def _pinned_in(self, member: NDArray[np.float32]) -> NDArray[np.float32]:
        counted: NDArray[np.float32] = member[list(self._pins.values())].sum(axis=0)
        return counted


def _choices(
    is_open: NDArray[np.bool_], weight: NDArray[np.float64], exploration: ExplorationConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of the next item by place and by chance alone, float64 [draws, pool] both; 0 where none is open."""
    if exploration.temperature > 0:
        by_place = is_open * weight
        total = by_place.sum(axis=1, keepdims=True)
        lost = (total[:, 0] == 0) & is_open.any(axis=1)
        by_place /= np.where(total > 0, total, 1)
        by_place[lost] = _first(is_open[lost])  # weights too small for a number to hold
    else:
        by_place = _first(is_open)
    if exploration.epsilon == 0:
        return by_place, by_place
    return by_place, is_open / np.maximum(is_open.sum(axis=1, keepdims=True), 1)


def _first(is_open: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 for the first open item of each row: float64 [draws, pool]."""
    first = np.zeros(is_open.shape)
    first[np.arange(len(is_open)), is_open.argmax(axis=1)] = 1
    return first * is_open


def _one_hot(groups: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """float32 [n, groups]; 1 where the candidate is in the group."""
    known = {group: column for column, group in enumerate(dict.fromkeys(one for of in groups for one in of))}
    member = np.zeros((len(groups), max(1, len(known))), dtype=np.float32)
    for row, of in enumerate(groups):
        for group in of:
            member[row, known[group]] = 1
    return member


def _in_reach(pins: Mapping[int, int], k: int) -> dict[int, int]:
    """Pins by slot, those past the end moved up to it; of two for one slot the later one moves to the next above."""
    placed: dict[int, int] = {}
    for slot, item in sorted(pins.items()):
        free = next((at for at in range(min(slot, k - 1), -1, -1) if at not in placed), None)
        if free is not None:
            placed[free] = item
    return placed
