"""One question to the pipeline: who asks, where, for how many, and what may be shown at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.recommendation import Part, UserState

STRANGER = UserState()
"""Nobody knows anything of this one."""


@dataclass(frozen=True, eq=False)
class Request:
    """One question. Nothing in the pipeline reads a clock or a global random state: all of it is said here.

    Args:
        k: slots wanted, >= 1.
        user: what is known of the one who asks, at the moment of asking.
        page: id of the item whose page asks for what is like it; None for a feed.
        exclude: ids not to be shown; unknown ones are ignored.
        allowed: bool [n_items]; what may be shown at all (filters, hard rules); None for everything. Unlike what was
            seen, what is not allowed is never let back in.
        weights: how much each way of being alike counts for an item's page (see `recsys/pipeline/likeness.py`); None
            for the published lists.
        scenario: name of the place the answer is for, such as "home" or "cart"; rules and experiments go by it.
        pool: candidates that ranker and stages choose from, at least; k where there is neither.
        now_s: the moment of asking, UTC seconds; of now, or of history where a log is replayed.
        relax: whether a feed may show the seen, then the viewed, then the unavailable where nothing else is left; not
            where an answer goes on from an earlier page.
        seed: of stages that draw; the same request with the same seed has the same answer.

    Raises:
        ValueError: k < 1; or weights are given without a page, one is negative or not finite, or all are 0.
    """

    k: int
    user: UserState = STRANGER
    page: str | None = None
    exclude: Collection[str] = ()
    allowed: NDArray[np.bool_] | None = None
    weights: Mapping[Part, float] | None = None
    scenario: str = ""
    pool: int = 100
    now_s: float = 0.0
    relax: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be >= 1, it is {self.k}")
        if self.weights is None:
            return
        if self.page is None:
            raise ValueError("weights of likeness need a page whose item is to be like")
        for part, weight in self.weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"a weight must be >= 0 and finite, {part} has {weight}")
        if not any(self.weights.values()):
            raise ValueError("one of the weights must be > 0, all are 0")

    @property
    def surface(self) -> str:
        """What kind of list is asked for: "similar" for an item's page, "feed" otherwise."""
        return "feed" if self.page is None else "similar"
