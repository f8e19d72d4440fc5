"""The flagship for ratings: boosted trees over signals that never saw the label they are asked about.

Stacking (Wolpert 1992): the signals of a training pair come from the ratings of the other folds, those of a new pair
from all training ratings; LightGBM (Ke et al. 2017) learns what they mean together. What a signal is worth for a pair
depends on the others (a cosine means more, the fewer people know the item), which is why a weighted sum is far behind.
The relational attention model as a further signal, trained anew for each of five folds, brought nothing.

Ratings whose dislikes are drawn, as many for each user as he has likes, give away one thing more: who has few likes
among his training pairs has many among the others. That is knowledge of how the data were drawn and not of taste, so
the flagship does not use it; `FlagshipConfig.drawn_dislikes` does, to show what it is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import lightgbm
import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from features.progress import bar
from features.section import Section
from recsys.ctr.model import RatingModel, Task
from recsys.ctr.ratings import Ratings
from recsys.ctr.signals import Signals

log = structlog.get_logger()
Sense = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Signals of pairs, float32 [n, n_signals]."""


class TreeConfig(Section):
    """The boosted trees."""

    learning_rate: PositiveFloat = 0.03
    """Weight of a tree."""
    most_trees: PositiveInt = 2000
    """Trees at most; validation says after which to stop."""
    patience: PositiveInt = 100
    """Trees without a better validation log loss after which to stop."""
    leaves: int = Field(default=12, ge=2)
    """Leaves of a tree."""
    leaf_pairs: PositiveInt = 40
    """Pairs a leaf has at least."""
    shrinkage: NonNegativeFloat = 5.0
    """Pull of a leaf's value toward 0."""


class FlagshipConfig(Section):
    """Signals and trees."""

    folds: int = Field(default=10, ge=2)
    """Parts of the training ratings whose signals come from the others."""
    ranks: tuple[PositiveInt, ...] = (16, 32, 64, 128, 256)
    """Singular vectors of the spectral signals."""
    drawn_dislikes: bool = False
    """Whether to use that each user has as many dislikes as likes in all ratings together."""
    trees: TreeConfig = TreeConfig()


@dataclass(frozen=True, eq=False)
class Flagship:
    """Trees over signals.

    Args:
        sense: the signals of a pair.
        names: what they are called.
        trees: what was learned of them.
    """

    sense: Sense
    names: tuple[str, ...]
    trees: lightgbm.Booster

    def probability(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float64]:
        """By the trees."""
        found = self.trees.predict(self.sense(user_idx, item_idx), num_threads=1)
        return np.asarray(found, dtype=np.float64)

    def gains(self) -> dict[str, float]:
        """Each signal's share of what the trees gained in log loss by asking for it."""
        gain = self.trees.feature_importance("gain")
        return dict(zip(self.names, (gain / max(gain.sum(), 1e-12)).tolist(), strict=True))


def fit_flagship(name: str, task: Task, config: FlagshipConfig) -> Flagship:
    """Signals by folds, then trees.

    Args:
        name: of the model, for logs.
        task: what to learn from.
        config: how.
    """
    facts = task.facts.item_facts()
    train = task.train
    fold = np.random.default_rng(task.seed).permutation(np.arange(len(train)) % config.folds)
    names, sense = _sense(train, facts, config, task.seed)
    signals = np.empty((len(train), len(names)), dtype=np.float32)
    with bar(f"signals of {name}", total=config.folds) as progress:
        for number in range(config.folds):
            asked = np.flatnonzero(fold == number)
            _, others = _sense(train.where(np.flatnonzero(fold != number)), facts, config, task.seed)
            signals[asked] = others(train.user_idx[asked], train.item_idx[asked])
            progress.advance()
    trees = _trees(signals, task, sense, config.trees)
    log.info("trained", model=name, trees=trees.best_iteration, seed=task.seed)
    return Flagship(sense, names, trees)


def _sense(
    ratings: Ratings, facts: sparse.csr_matrix, config: FlagshipConfig, seed: int
) -> tuple[tuple[str, ...], Sense]:
    """The signals of `recsys/ctr/signals.py`, and where asked for what the drawing of dislikes gives away."""
    signals = Signals(ratings, facts, ranks=config.ranks, seed=seed)
    if not config.drawn_dislikes:
        return signals.names, signals.of
    rated = np.bincount(ratings.user_idx, minlength=len(ratings.users))
    liked = np.bincount(ratings.user_idx[ratings.label == 1], minlength=len(ratings.users))
    unmatched = rated - 2 * liked  # dislikes without a like to match them yet

    def sense(user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        drawn = np.stack([unmatched[user_idx], rated[user_idx]], axis=1).astype(np.float32)
        return np.concatenate([signals.of(user_idx, item_idx), drawn], axis=1)

    return (*signals.names, "unmatched_dislikes", "rated"), sense


def _trees(signals: NDArray[np.float32], task: Task, sense: Sense, config: TreeConfig) -> lightgbm.Booster:
    learned = lightgbm.Dataset(signals, task.train.label)
    chosen_by = lightgbm.Dataset(sense(task.valid.user_idx, task.valid.item_idx), task.valid.label, reference=learned)
    settings = {
        "objective": "binary",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.leaf_pairs,
        "lambda_l2": config.shrinkage,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": task.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    return lightgbm.train(
        settings,
        learned,
        num_boost_round=config.most_trees,
        valid_sets=[chosen_by],
        callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
    )


MODELS = tuple(
    RatingModel(name, summary, partial(fit_flagship, name, config=FlagshipConfig(drawn_dislikes=drawn)))
    for name, summary, drawn in (
        ("flagship", "boosted trees over signals of behavior and facts", False),
        ("flagship+drawn", "the same, and that dislikes were drawn as many as likes for each user", True),
    )
)
