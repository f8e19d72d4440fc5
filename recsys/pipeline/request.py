"""One question to the pipeline: who asks, where, for how many, and what may be shown at all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.recommendation import UserState

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
        scenario: name of the place the answer is for, such as "home" or "cart"; rules and experiments go by it.
        pool: candidates that ranker and stages choose from, at least; k where there is neither.
        now_s: the moment of asking, UTC seconds; of now, or of history where a log is replayed.
        seed: of stages that draw; the same request with the same seed has the same answer.

    Raises:
        ValueError: k < 1.
    """

    k: int
    user: UserState = STRANGER
    page: str | None = None
    exclude: Collection[str] = ()
    allowed: NDArray[np.bool_] | None = None
    scenario: str = ""
    pool: int = 100
    now_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be >= 1, it is {self.k}")

    @property
    def surface(self) -> str:
        """What kind of list is asked for: "similar" for an item's page, "feed" otherwise."""
        return "feed" if self.page is None else "similar"
