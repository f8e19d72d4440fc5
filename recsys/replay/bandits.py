"""Bandits that learn while they are replayed: LinUCB and Thompson sampling.

Their choices depend on what they have learned so far, so no table describes them. Replay (Li, Chu, Langford, Wang 2011)
feeds them one logged slot after the other, keeps those where they choose what was shown, and lets them learn from these
alone: on uniformly random traffic the kept slots are distributed as the bandit's own. A log that is not uniform is
thinned to uniform first, by keeping a slot with probability least propensity / its propensity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.progress import bar
from recsys.bootstrap import interval
from recsys.replay.intervals import Estimate, student_t
from recsys.replay.log import Log

F64 = NDArray[np.float64]
EXPLORE = 1.0 + math.sqrt(math.log(2 / 0.05) / 2)
"""LinUCB's alpha, what it adds for not knowing: the paper's, for bounds that hold with 95%."""
BANDITS = ("linucb", "thompson")


class Bandit(Protocol):
    """What learns from the slots that are kept."""

    def choose(self, x: F64) -> int:
        """The item to show in a context, float64 [dim]."""
        ...

    def learn(self, x: F64, item: int, reward: float) -> None:
        """Take in what came of it."""
        ...


class LinUCB:
    """A ridge regression an item, and optimism about what it does not know (Li, Chu, Langford, Schapire 2010).

    Args:
        n_items: items.
        dim: of the contexts.
    """

    def __init__(self, n_items: int, dim: int) -> None:
        self._inverse = np.tile(np.eye(dim), (n_items, 1, 1))
        self._sum = np.zeros((n_items, dim))

    def choose(self, x: F64) -> int:
        """The item with the highest upper bound."""
        turned = self._inverse @ x
        bound = np.einsum("ad,ad->a", self._sum, turned) + EXPLORE * np.sqrt(turned @ x)
        return int(bound.argmax())

    def learn(self, x: F64, item: int, reward: float) -> None:
        """Update the item's regression (Sherman, Morrison 1950)."""
        turned = self._inverse[item] @ x
        self._inverse[item] -= np.outer(turned, turned) / (1.0 + float(x @ turned))
        self._sum[item] += reward * x


class Thompson:
    """A Beta belief an item and kind of slot, and a draw from each (Thompson 1933; Chapelle, Li 2011).

    The contexts must be one-hot; rewards must be in [0, 1].

    Args:
        n_items: items.
        dim: kinds of slot.
        rng: of the draws.
    """

    def __init__(self, n_items: int, dim: int, rng: np.random.Generator) -> None:
        self._won = np.ones((dim, n_items))
        self._lost = np.ones((dim, n_items))
        self._rng = rng

    def choose(self, x: F64) -> int:
        """The item with the highest draw."""
        kind = int(x.argmax())
        return int(self._rng.beta(self._won[kind], self._lost[kind]).argmax())

    def learn(self, x: F64, item: int, reward: float) -> None:
        """Count a click, or its absence."""
        kind = int(x.argmax())
        self._won[kind, item] += reward
        self._lost[kind, item] += 1.0 - reward


@dataclass(frozen=True, eq=False)
class Played:
    """A bandit's replay.

    Args:
        estimate: mean reward of the kept slots, of everything from the first slot on while it still knew nothing.
        learned: mean reward of the second half of the kept slots; NaN with fewer than two.
    """

    estimate: Estimate
    learned: float


def play(name: str, log: Log, *, seed: int, samples: int, level: float) -> Played:
    """Replay a bandit over a log in order of time.

    Args:
        name: one of `BANDITS`.
        log: the traffic; contexts are its groups and positions.
        seed: of draws and of thinning.
        samples: bootstrap resamples.
        level: of the intervals.

    Raises:
        ValueError: the name is unknown, or rewards outside [0, 1] are given to Thompson sampling.
    """
    if name not in BANDITS:
        raise ValueError(f"a bandit must be one of {BANDITS}, got {name!r}")
    rng = np.random.default_rng([seed, 3])
    n_groups, n_items = len(log.groups), len(log.items)
    linear = name == "linucb"
    if not linear and (float(log.reward.min()) < 0 or float(log.reward.max()) > 1):
        raise ValueError(f"thompson needs rewards in [0, 1], log {log.name} has up to {float(log.reward.max()):g}")
    kinds = np.eye(log.n_cells)
    if linear:
        position, group = np.divmod(np.arange(log.n_cells), n_groups)
        kinds = np.hstack([np.ones((log.n_cells, 1)), np.eye(log.n_positions)[position], np.eye(n_groups)[group]])
    bandit: Bandit = LinUCB(n_items, kinds.shape[1]) if linear else Thompson(n_items, kinds.shape[1], rng)
    least = min(float(rows.propensity.min()) for rows in log.chunks())
    kept: list[float] = []
    with bar(f"Replaying {name}", total=len(log)) as progress:
        for rows in log.chunks():
            in_play = np.flatnonzero(rng.random(len(rows)) * rows.propensity < least)
            for row in in_play.tolist():
                x, item = kinds[rows.cell[row]], int(rows.item_idx[row])
                if bandit.choose(x) == item:
                    reward = float(rows.reward[row])
                    bandit.learn(x, item, reward)
                    kept.append(reward)
            progress.advance(len(rows))
    return _summed(np.array(kept), rng, samples, level)


def _summed(kept: F64, rng: np.random.Generator, samples: int, level: float) -> Played:
    n = len(kept)
    if not n:
        return Played(Estimate(math.nan, note="no logged row is one that the bandit would show"), math.nan)
    value = float(kept.mean())
    error = float(kept.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    # the number of clicks in a resample of a hundred thousand rows needs no list of a hundred thousand rows
    levels, counts = np.unique(kept, return_counts=True)
    replicates = rng.multinomial(n, counts / n, size=samples) @ levels / n
    low, high = interval(replicates, level=level)
    intervals = {"bootstrap": (low, high), "student_t": student_t(value, error, n, level)}
    learned = float(kept[n // 2 :].mean()) if n > 1 else math.nan
    note = f"learns as it goes; {learned:.5f} in the second half"
    return Played(Estimate(value, low, high, error, n, float(n), intervals, replicates, note), learned)
