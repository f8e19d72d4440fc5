"""What every model of ratings looks like to those who compare models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.ctr.knowledge import FactGraph
from recsys.ctr.ratings import Ratings


@dataclass(frozen=True, eq=False)
class Task:
    """One fit.

    Args:
        train: to learn from.
        valid: to choose by.
        facts: what is known of the items.
        seed: of every random choice.
        run_dir: where checkpoints go; a fit cut off goes on from there.
    """

    train: Ratings
    valid: Ratings
    facts: FactGraph
    seed: int
    run_dir: Path


class Predictor(Protocol):
    """A fitted model."""

    def probability(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance that each user likes each item, float64 [n], by rows of the vocabularies."""


@dataclass(frozen=True)
class RatingModel:
    """One entry of the table of models.

    Args:
        name: its name.
        summary: what it is, in one line.
        fit: learns from the training ratings; the validation ratings decide when to stop.
    """

    name: str
    summary: str
    fit: Callable[[Task], Predictor]


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logit))
