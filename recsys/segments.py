"""Some users, the lists they would be shown, and what of their held-out pairs is in them.

The same record serves all users, cold users and cold items: a segment is a choice of users, of pairs, or of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.interactions import Interactions
from recsys import metrics
from recsys.bootstrap import bootstrap_means, interval
from recsys.held_out import among, pair_keys


@dataclass(frozen=True, eq=False)
class Summary:
    """Averages, their 95% intervals (none for coverage, which is no average), and the values averaged."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_user: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Judged:
    """Users, their lists, where these hit, and how much there was to hit.

    Args:
        users: int64 [n].
        top: int64 [n, width]; item rows best first, -1 where a list has ended.
        hits: bool [n, width]; whether the shown item is a held-out one.
        n_held: int64 [n]; held-out pairs of each user.
        bits: float64 [n_items]; surprise of each item.
    """

    users: NDArray[np.int64]
    top: NDArray[np.int64]
    hits: NDArray[np.bool_]
    n_held: NDArray[np.int64]
    bits: NDArray[np.float64]

    @classmethod
    def of(
        cls, top: NDArray[np.int64], users: NDArray[np.int64], held: Interactions, bits: NDArray[np.float64]
    ) -> Judged:
        """Look up each list's items among the held-out pairs."""
        wanted = np.sort(pair_keys(held))
        n_held = np.bincount(held.user_idx, minlength=len(held.users))[users]
        keys = np.where(top >= 0, users[:, None] * np.int64(max(len(held.items), 1)) + top, -1)
        return cls(users, top, among(keys, wanted), n_held, bits)

    def only(self, keep: NDArray[np.bool_]) -> Judged:
        """The users of a mask, bool [n]."""
        return Judged(self.users[keep], self.top[keep], self.hits[keep], self.n_held[keep], self.bits)

    def summary(
        self, ks: tuple[int, ...], *, samples: int, seed: int, catalog: NDArray[np.bool_] | None = None
    ) -> Summary:
        """Every metric at every k.

        Args:
            ks: list lengths.
            samples: bootstrap resamples; 0 leaves intervals out.
            seed: of the resamples.
            catalog: bool [n_items]; the items whose coverage is counted, all where not given.
        """
        per_user: dict[str, NDArray[np.float64]] = {}
        covered: dict[str, float] = {}
        counted = np.ones(len(self.bits), dtype=np.bool_) if catalog is None else catalog
        top = np.where(np.append(counted, False)[self.top], self.top, -1)
        for k in ks:
            per_user |= metrics.per_user(self.top, self.hits, self.n_held, self.bits, k)
            covered[f"coverage@{k}"] = metrics.coverage(top, int(counted.sum()), k)
        intervals: dict[str, tuple[float, float]] = {}
        if samples:
            means = bootstrap_means(np.stack(list(per_user.values()), axis=1), samples=samples, seed=seed)
            intervals = {name: interval(means[:, column]) for column, name in enumerate(per_user)}
        averages = {name: _average(values) for name, values in per_user.items()}
        return Summary(averages | covered, intervals, per_user)


def _average(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
