"""Policies: with which probability is an item shown in a slot? Estimators ask four questions, and each is linear.

A policy is anything that answers them; `TablePolicy` holds a probability per kind of slot and item, `ListPolicy` a
short list per row (a recommender's own answers), `Mixture` blends two, `Logged` is the one that wrote the log.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log, Rows

F64 = NDArray[np.float64]


class Policy(Protocol):
    """What an estimator may ask.

    `given_above` asks for the probability in a slot given the slots of the log above it; a policy that fills its slots
    independently answers the same either way.
    """

    @property
    def name(self) -> str:
        """Short and unique within a replay."""
        ...

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:
        """Probability of what was shown, float64 [m]."""
        ...

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:
        """The mean of a value over what the policy would show, float64 [m].

        Args:
            rows: the rows.
            values: float64 [folds, cells, items]; a row looks into its own fold and cell.
            given_above: see the class.
        """
        ...

    def share(self, rows: Rows, cluster_of: NDArray[np.int64]) -> F64:
        """Probability of any item of the cluster of what was shown, float64 [m]; `cluster_of` is int64 [items]."""
        ...

    def exposure(self, rows: Rows) -> F64:
        """How often each item would be shown in these rows together, float64 [items]."""
        ...


class TablePolicy:
    """Fills each slot by itself, from the slot's position and group alone.

    Args:
        name: of the policy.
        table: float64 [cells, items]; rows sum to 1.

    Raises:
        ValueError: a row is no distribution.
    """

    def __init__(self, name: str, table: F64) -> None:
        sums = table.sum(axis=1)
        bad = np.flatnonzero(~(np.isclose(sums, 1.0, atol=1e-6) & (table >= 0).all(axis=1)))
        if len(bad):
            raise ValueError(f"{name}: probabilities must be >= 0 and sum to 1, cell {bad[0]} sums to {sums[bad[0]]}")
        self.name = name
        self.table = table

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:  # noqa: ARG002 - slots are independent
        """Probability of what was shown."""
        found: F64 = self.table[rows.cell, rows.item_idx]
        return found

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:  # noqa: ARG002
        """The mean of a value over what would be shown."""
        mean = np.einsum("ca,fca->fc", self.table, values)
        found: F64 = mean[rows.fold, rows.cell]
        return found

    def share(self, rows: Rows, cluster_of: NDArray[np.int64]) -> F64:
        """Probability of the cluster of what was shown."""
        of_cluster = np.zeros((len(self.table), int(cluster_of.max()) + 1))
        np.add.at(of_cluster.T, cluster_of, self.table.T)
        found: F64 = of_cluster[rows.cell, cluster_of[rows.item_idx]]
        return found

    def exposure(self, rows: Rows) -> F64:
        """How often each item would be shown."""
        found: F64 = np.bincount(rows.cell, minlength=len(self.table)).astype(np.float64) @ self.table
        return found


class ListPolicy:
    """Knows a few items for each row of one log, such as the item that a recommender would put there.

    Args:
        name: of the policy.
        n_items: of the log's vocabulary.
        items: int64 [n, s], rows of the log; -1 leaves an entry empty, or names an item that the log does not know.
        probability: float64 [n, s]; a row sums to 1.
    """

    def __init__(self, name: str, n_items: int, items: NDArray[np.int64], probability: F64) -> None:
        self.name = name
        self._n_items = n_items
        self.items = items
        self.probability = probability

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:  # noqa: ARG002 - the list is the policy's own
        """Probability of what was shown."""
        items, probability = self.items[rows.within], self.probability[rows.within]
        found: F64 = np.where(items == rows.item_idx[:, None], probability, 0.0).sum(axis=1)
        return found

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:  # noqa: ARG002
        """The mean of a value over what would be shown; an item that the log never held counts as the cell's mean."""
        items, probability = self.items[rows.within], self.probability[rows.within]
        known = values[rows.fold[:, None], rows.cell[:, None], np.maximum(items, 0)]
        usual = values.mean(axis=2)[rows.fold, rows.cell]
        found: F64 = (probability * np.where(items >= 0, known, usual[:, None])).sum(axis=1)
        return found

    def share(self, rows: Rows, cluster_of: NDArray[np.int64]) -> F64:
        """Probability of the cluster of what was shown."""
        items, probability = self.items[rows.within], self.probability[rows.within]
        same = (cluster_of[np.maximum(items, 0)] == cluster_of[rows.item_idx][:, None]) & (items >= 0)
        found: F64 = np.where(same, probability, 0.0).sum(axis=1)
        return found

    def exposure(self, rows: Rows) -> F64:
        """How often each item would be shown; items that the log does not know are left out."""
        items, probability = self.items[rows.within], self.probability[rows.within]
        known = items >= 0
        found: F64 = np.bincount(items[known], weights=probability[known], minlength=self._n_items).astype(np.float64)
        return found


class Mixture:
    """Follows one policy with some probability, else another: epsilon-greedy, for example.

    Args:
        name: of the mixture.
        policy: the one.
        other: the other.
        other_share: probability of the other, in [0, 1].
    """

    def __init__(self, name: str, policy: Policy, other: Policy, other_share: float) -> None:
        if not 0 <= other_share <= 1:
            raise ValueError(f"{name}: a share must be in [0, 1], got {other_share}")
        self.name = name
        self.parts = ((1.0 - other_share, policy), (other_share, other))

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:
        """Probability of what was shown."""
        (a, one), (b, other) = self.parts
        return a * one.of_logged(rows, given_above=given_above) + b * other.of_logged(rows, given_above=given_above)

    def expected(self, rows: Rows, values: F64, *, given_above: bool) -> F64:
        """The mean of a value over what would be shown."""
        (a, one), (b, other) = self.parts
        return a * one.expected(rows, values, given_above=given_above) + b * other.expected(
            rows, values, given_above=given_above
        )

    def share(self, rows: Rows, cluster_of: NDArray[np.int64]) -> F64:
        """Probability of the cluster of what was shown."""
        (a, one), (b, other) = self.parts
        return a * one.share(rows, cluster_of) + b * other.share(rows, cluster_of)

    def exposure(self, rows: Rows) -> F64:
        """How often each item would be shown."""
        (a, one), (b, other) = self.parts
        return a * one.exposure(rows) + b * other.exposure(rows)


class Logged(TablePolicy):
    """The policy that wrote the log: its propensities are the log's own, so every weight is 1.

    The log does not say how probable the items were that it did not show; for `expected`, `share` and `exposure` these
    are taken from how often each was shown in a cell.
    """

    def __init__(self, log: Log, name: str = "logged") -> None:
        super().__init__(name, shown_shares(log))
        self._marginal = log.marginal if log.given_above else None

    def of_logged(self, rows: Rows, *, given_above: bool) -> F64:
        """Probability of what was shown; NaN where the one overall was not logged."""
        return rows.propensity if given_above or self._marginal is None else self._marginal[rows.within]


def shown_counts(log: Log) -> F64:
    """How often each item was shown in each cell, float64 [cells, items]."""
    counts = np.zeros(log.n_cells * len(log.items))
    for rows in log.chunks():
        counts += np.bincount(rows.cell * len(log.items) + rows.item_idx, minlength=len(counts))
    return counts.reshape(log.n_cells, len(log.items))


def shown_shares(log: Log) -> F64:
    """How the showings of each cell spread over the items, float64 [cells, items]; uniform in a cell without any."""
    counts = shown_counts(log)
    n = counts.sum(axis=1, keepdims=True)
    shares: F64 = np.divide(counts, n, out=np.full_like(counts, 1.0 / len(log.items)), where=n > 0)
    return shares
