"""Lists whose items are not all alike: two ways to weigh an item's merit against its likeness to what stands above it.

Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) takes next the item of largest

    (1 - share) merit_i - share max_{j above} likeness_ij

and looks only at the nearest item above. A determinantal point process looks at all of them together: greedy MAP
inference takes next the item that adds most to

    (1 - share) sum_i merit_i + share log det S_Y

where S_Y holds the likeness among the items Y taken so far. The determinant is kept up to date by one row of its
Cholesky factor an item, O(n k^2) in all instead of O(n k^4) (Chen, Zhang and Zhou, NeurIPS 2018, algorithm 1).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from features.section import Section
from features.vectors.rows import unit_rows

TINY = 1e-10
"""A smaller part of an item that the items above do not already say counts as this much."""


class DiversityConfig(Section):
    """How unlike one another the items of an answer are to be."""

    method: Literal["mmr", "dpp"] = "mmr"
    share: float = Field(default=0.3, ge=0, le=1)
    """Weight of being different, against merit: 0 changes nothing, 1 looks at nothing else."""
    depth: PositiveInt = Field(default=50, le=1_000)
    """Candidates from the top that take part; those below keep their places."""
    by: Literal["behavior", "text", "image"] = "behavior"
    """What makes two items alike: the model's item vectors, their words or their pictures."""


def merit_of_places(n: int) -> NDArray[np.float64]:
    """What a place is worth, from 1 for the first downwards, 1 / log2(1 + place): float64 [n].

    Scores of different sources cannot be compared and those of different models are spread differently; places can.
    The discount is that of NDCG (Järvelin and Kekäläinen 2002).
    """
    return 1 / np.log2(np.arange(2, n + 2, dtype=np.float64))


def diversify(
    merit: NDArray[np.float64], vectors: NDArray[np.float32], k: int, config: DiversityConfig
) -> NDArray[np.int64]:
    """The k items to show, in order: int64 [min(k, n)], places among those given.

    Args:
        merit: float64 [n]; on one scale with likeness, which is at most 1.
        vectors: float32 [n, dim]; likeness is their cosine, not below 0; a zero row is like nothing.
        k: items to take.
        config: method and share.
    """
    units = unit_rows(vectors)
    greedy = mmr if config.method == "mmr" else dpp
    return greedy(merit, units, min(k, len(merit)), config.share)


def mmr(merit: NDArray[np.float64], units: NDArray[np.float32], k: int, share: float) -> NDArray[np.int64]:
    """Maximal marginal relevance; ties go to the earlier item. Arguments as `diversify`, `units` of length 1 or 0."""
    nearest = np.zeros(len(merit))
    open_merit = (1 - share) * merit
    taken = np.zeros(k, dtype=np.int64)
    for place in range(k):
        best = taken[place] = int(np.argmax(open_merit - share * nearest))
        open_merit[best] = -np.inf
        np.maximum(nearest, units @ units[best], out=nearest)
    return taken


def dpp(merit: NDArray[np.float64], units: NDArray[np.float32], k: int, share: float) -> NDArray[np.int64]:
    """Greedy MAP of a determinantal point process; ties go to the earlier item. Arguments as `mmr`.

    The kernel is (1 + cosine) / 2, which is positive semi-definite as the cosines are, and 1 on the diagonal also for
    items without a vector, which it takes for different from everything by 1/2.
    """
    open_merit = (1 - share) * merit
    left = np.ones(len(merit))  # of each item, what those taken do not say; a squared length
    rows = np.zeros((k, len(merit)))
    taken = np.zeros(k, dtype=np.int64)
    for place in range(k):
        best = taken[place] = int(np.argmax(open_merit + share * np.log(np.maximum(left, TINY))))
        kernel = 0.5 + 0.5 * (units @ units[best]).astype(np.float64)
        kernel[best] = 1.0
        rows[place] = (kernel - rows[:place].T @ rows[:place, best]) / np.sqrt(max(left[best], TINY))
        left -= rows[place] ** 2
        open_merit[best] = -np.inf
    return taken
