"""A random walk as a linear filter, with and without side rows; the formulas are in `recsys.linear.walk`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy import sparse

from recsys.held_out import Split
from recsys.linear.history import fading
from recsys.linear.scaling import column_sums
from recsys.linear.scorer import ItemWeightsScorer
from recsys.linear.walk import WalkShape, half_step, walk_core, walk_scores, walk_weights
from recsys.models.closed_form import ClosedFormConfig, Settings, Sides, Solved, search_closed_form
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, Model


class WalkConfig(ClosedFormConfig):
    """Settings of the walk."""

    persistence: tuple[float, ...] = Field(default=(0.8, 0.95, 0.5, 0.0, -0.3), min_length=1)
    """How far the walk goes on, in (-1, 1): 0 is one step from item to user to item; below 0 the second step counts
    against."""
    target_exponent: tuple[float, ...] = Field(default=(0.35, 0.5, 0.2), min_length=1)
    """How much of an item's popularity is given back on arrival."""
    source_exponent: tuple[float, ...] = Field(default=(0.0, 0.1, 0.25), min_length=1)
    """How much popularity is taken off at the start, beside what each step takes off."""
    user_exponent: tuple[float, ...] = Field(default=(0.5, 0.4), min_length=1)
    """How much is taken off a user with many items at each step."""
    steps: PositiveInt = 2
    """Terms of the series for a catalog beyond `dense_items`."""

    def grid(self) -> dict[str, tuple[Any, ...]]:
        """Length of the walk, then the exponents, then where it starts."""
        return {
            "persistence": self.persistence,
            "target_exponent": self.target_exponent,
            "source_exponent": self.source_exponent,
            "user_exponent": self.user_exponent,
            "recency": self.recency,
        }


@dataclass(frozen=True, eq=False)
class StepScorer:
    """The walk step by step, for catalogs whose matrix of items by items would not fit: see `walk_scores`.

    Args:
        name: short name.
        history: [n_users, n]; what each user has, and how much it says: items, and perhaps other behavior after them.
        half: B, see `recsys.linear.walk`.
        degrees: float64 [n].
        n_items: how many of the n are items that are ranked.
        shape: of the walk.
        steps: terms of the series.
        params: what was chosen.
        fit_s: seconds spent on fitting.
    """

    name: str
    history: sparse.csr_matrix
    half: sparse.csr_matrix
    degrees: NDArray[np.float64]
    n_items: int
    shape: WalkShape
    steps: int
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = float("nan")

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Where the walk from the user's items arrives, float32 [n, n_items]."""
        rows = self.history[user_idx]
        return walk_scores(rows, self.half, self.degrees, self.shape, steps=self.steps)[:, : self.n_items]


def fit_walk(name: str, split: Split, sides: Sides, config: WalkConfig, job: Job) -> ItemWeightsScorer | StepScorer:
    """Choose the settings on validation, one after the other."""
    started = time.perf_counter()
    pairs = split.train.matrix(binary=True)
    n_items = pairs.shape[1]
    last: dict[tuple[Any, ...], NDArray[np.float32]] = {}
    solved = Solved(name, config.dense_items, f"by {config.steps} terms of the series")

    def build(settings: Settings) -> ItemWeightsScorer | StepScorer:
        matrix = sides.under(sides.beside(pairs, settings), settings)
        degrees = column_sums(matrix)
        shape = WalkShape(**{setting: settings[setting] for setting in config.grid() if setting != "recency"})
        history = sides.beside(fading(split.train, settings["recency"]), settings)
        half = half_step(matrix, shape.user_exponent)
        told = solved.told(matrix.shape[1])
        if not solved.exactly(matrix.shape[1]):
            return StepScorer(name, history, half, degrees, n_items, shape, config.steps, told)
        exponents = ("source_exponent", "target_exponent", "recency")
        key = tuple(value for setting, value in settings.items() if setting not in exponents)
        if key not in last:  # only the ends of the walk change between most trials
            last.clear()
            last[key] = walk_core(half, shape.persistence)
        return ItemWeightsScorer(name, history, walk_weights(last[key], degrees, shape)[:, :n_items], told)

    scorer, params = search_closed_form(name, split, sides, config, seed=job.seed, build=build)
    return replace(scorer, params={**params, **scorer.params}, fit_s=time.perf_counter() - started)


def _fit(split: Split, _: Knowledge, config: WalkConfig, job: Job) -> ItemWeightsScorer | StepScorer:
    return fit_walk("walk", split, Sides(), config, job)


def _fit_side(split: Split, known: Knowledge, config: WalkConfig, job: Job) -> ItemWeightsScorer | StepScorer:
    return fit_walk("walk_side", split, Sides.of(known, neighbors=config.neighbors), config, job)


MODELS = (
    Model(
        "walk",
        "a random walk as a linear filter (RP3beta, GF-CF's linear part, label spreading)",
        WalkConfig(),
        _fit,
        seeded=False,
        settle=WalkConfig.settled,
    ),
    Model(
        "walk_side",
        "the walk over users, content neighbors and attributes",
        WalkConfig(),
        _fit_side,
        uses=frozenset({"text", "image", "audio", "attributes", "item_graph", "other_behavior"}),
        seeded=False,
        settle=WalkConfig.settled,
    ),
)
