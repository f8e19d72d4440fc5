"""How fast parameters move in the course of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import optim


def highest_rates(optimizer: optim.Optimizer) -> list[float]:
    """The rate of each group of parameters as it was made, which is its highest."""
    return [group["lr"] for group in optimizer.param_groups]


def set_rates(optimizer: optim.Optimizer, highest: Sequence[float], at: float) -> None:
    """Rates rise over the first tenth of a training and fall along a cosine.

    Args:
        optimizer: whose rates are set.
        highest: of each group.
        at: share of the steps that are done with the next one.
    """
    for group, rate in zip(optimizer.param_groups, highest, strict=True):
        group["lr"] = rate * min(1.0, 10 * at) * 0.5 * (1 + math.cos(math.pi * at))
