from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.vocabulary import Vocabulary
from recsys.replay.log import Log
from tests.recsys.replay.visits import DAY, T0


@pytest.fixture
def make_log() -> Callable[..., Log]:
    """A log from plain lists; what is left out is one request a row, one group, propensity 1/2."""

    def make(items: Sequence[int], reward: Sequence[float], *, n_items: int = 3, **columns: Any) -> Log:
        n = len(items)
        return Log(
            name="tiny",
            items=Vocabulary(tuple(f"i{row}" for row in range(n_items))),
            item_idx=np.array(items),
            position=np.array(columns.pop("position", [0] * n)),
            reward=np.array(reward, dtype=np.float64),
            propensity=np.array(columns.pop("propensity", [0.5] * n), dtype=np.float64),
            request_idx=np.array(columns.pop("request", range(n))),
            user_idx=np.array(columns.pop("user", [-1] * n)),
            group=np.array(columns.pop("group", [0] * n)),
            timestamp=np.array(columns.pop("timestamp", [np.nan] * n), dtype=np.float64),
            **columns,
        )

    return make


@pytest.fixture
def visits(make_log: Callable[..., Log]) -> Log:
    """Three requests of two slots: u2, u3, and somebody unknown; on days 0, 1 and 2."""
    log = make_log(
        [0, 1, 2, 3, 4, 5], [0] * 6, n_items=10, request=[0, 0, 1, 1, 2, 2], position=[0, 1] * 3,
        user=[0, 0, 1, 1, -1, -1], timestamp=T0 + DAY * np.array([0, 0, 1, 1, 2, 2]), propensity=[0.1] * 6,
    )  # fmt: skip
    return replace(log, users=("u2", "u3"))
