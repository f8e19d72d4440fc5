"""Lists drawn one item after the other in proportion to exp(score), with the exact probability of every slot.

Plackett (1975), Luce (1959). The draw is the order of arrival of independent exponential clocks with rates exp(score),
and so the probability that an item comes k-th is an integral over its time of arrival of a Poisson-binomial count of
those that came before (the race is well known; the quadrature and the recursion are written out here).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log, Rows
from recsys.replay.policy import TablePolicy
from recsys.replay.rankings import running_sum_above

F64 = NDArray[np.float64]
_NODES = 400


def slot_probabilities(scores: F64, n_slots: int) -> F64:
    """Probability that each item comes in each of the first slots.

    Args:
        scores: float64 [items]; -inf for an item that is never drawn.
        n_slots: how many slots, at most the items that can be drawn.

    Returns:
        float64 [n_slots, items]; rows sum to 1, exact up to a quadrature error below 1e-6.

    Raises:
        ValueError: more slots than items that can be drawn.
    """
    can = np.isfinite(scores)
    if n_slots > can.sum():
        raise ValueError(f"{n_slots} slots need as many items that can be drawn, there are {int(can.sum())}")
    rate = np.exp(scores[can] - scores[can].max())
    rate /= rate.sum()
    # times from long before the first arrival until long after the n-th, evenly in the logarithm
    log_t = np.linspace(np.log(1e-8), np.log(40.0 / rate.min()), _NODES + _NODES // 100 * n_slots)
    t = np.exp(log_t)
    came = -np.expm1(-rate[:, None] * t)  # [items, times]
    before = _counts(came, n_slots)
    after = _counts(came[::-1], n_slots)[::-1]
    step = np.gradient(log_t)
    density = rate[:, None] * np.exp(-rate[:, None] * t) * t * step
    found = np.zeros((n_slots, len(scores)))
    for slot in range(n_slots):
        others = sum(before[:-1, k] * after[1:, slot - k] for k in range(slot + 1))
        found[slot, can] = (density * others).sum(axis=1)
    totals: F64 = found.sum(axis=1, keepdims=True)
    return np.asarray(found / totals, dtype=np.float64)


def _counts(came: F64, n: int) -> F64:
    """Probability that k < n of the first i items have come: float64 [items + 1, n, times]."""
    counts = np.zeros((len(came) + 1, n, came.shape[1]))
    counts[0, 0] = 1.0
    for item, p in enumerate(came):
        counts[item + 1] = counts[item] * (1 - p)
        counts[item + 1, 1:] += counts[item, :-1] * p
    return counts


class PlackettLuce(TablePolicy):
    """A list per request, drawn without repeats from scores that depend on the group.

    As a table it knows the probability of an item in a slot whatever stands above; given what stands above, the item's
    share among those that are left.

    Args:
        name: of the policy.
        scores: float64 [groups, items], already divided by the temperature; -inf for an item that is never drawn.
        n_positions: slots of a list.
    """

    def __init__(self, name: str, scores: F64, n_positions: int) -> None:
        tables = np.stack([slot_probabilities(score, n_positions) for score in scores], axis=1)
        super().__init__(name, tables.reshape(n_positions * len(scores), scores.shape[1]))
        self._strength = np.exp(scores - scores.max(axis=1, keepdims=True))
        self._strength /= self._strength.sum(axis=1, keepdims=True)

    def _left(self, rows: Rows) -> tuple[F64, F64]:
        own = self._strength[rows.group, rows.item_idx]
        return own, np.maximum(1.0 - running_sum_above(rows, own), 0.0)

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:
        """Probability of what was shown."""
        if not given_above:
            return super().of_logged(rows, given_above=False)
        own, left = self._left(rows)
        share: F64 = np.divide(own, left, out=np.zeros_like(own), where=left > 0)
        return share

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:
        """The mean of a value over what would be shown."""
        if not given_above:
            return super().expected(rows, values, given_above=False)
        own, left = self._left(rows)
        n_groups = len(self._strength)
        usual = np.einsum("ga,fpga->fpg", self._strength, values.reshape(len(values), -1, n_groups, values.shape[2]))
        whole = usual.reshape(len(values), -1)[rows.fold, rows.cell]
        # what stands above is worth what it would be worth in this row's cell: one pass for each depth of the list
        gone = np.zeros(len(rows))
        above = np.arange(len(rows))
        for _ in range(int(rows.position.max(initial=0)) + 1):
            above = above - 1
            same = (above >= 0) & (rows.request_idx[np.maximum(above, 0)] == rows.request_idx)
            if not same.any():
                break
            at = np.flatnonzero(same)
            item = rows.item_idx[above[at]]
            gone[at] += self._strength[rows.group[at], item] * values[rows.fold[at], rows.cell[at], item]
        mean: F64 = np.divide(whole - gone, left, out=np.full_like(own, np.nan), where=left > 0)
        return mean

    def draw(self, rng: np.random.Generator, groups: NDArray[np.integer], n_slots: int) -> NDArray[np.int64]:
        """Draw lists by Gumbel noise, int64 [requests, n_slots]."""
        with np.errstate(divide="ignore"):
            noisy = np.log(self._strength)[groups] + rng.gumbel(size=(len(groups), self._strength.shape[1]))
        return np.argsort(-noisy, axis=1)[:, :n_slots]


def of_log(name: str, log: Log, scores: F64) -> PlackettLuce:
    """Plackett-Luce over the slots of a log; scores are float64 [groups, items] or [items]."""
    wide = np.broadcast_to(scores, (len(log.groups), len(log.items)))
    return PlackettLuce(name, np.array(wide, dtype=np.float64), log.n_positions)
