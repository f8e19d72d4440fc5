"""EASE (Steck 2019) with degrees taken off, with and without side rows; the formulas are in `recsys.linear.ease`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from recsys.held_out import Split
from recsys.linear.ease import ease_input, ease_weights, local_ease_weights
from recsys.linear.history import fading
from recsys.linear.scaling import column_sums, powers, scaled
from recsys.linear.scorer import ItemWeightsScorer, Weights
from recsys.models.closed_form import ClosedFormConfig, Settings, Sides, Solved, search_closed_form
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, Model


class EASEConfig(ClosedFormConfig):
    """Settings of EASE."""

    ridge: tuple[PositiveFloat, ...] = Field(default=(10.0, 3.0, 30.0), min_length=1)
    """Ridge, as a multiple of an item's mean squared length."""
    item_exponent: tuple[NonNegativeFloat, ...] = Field(default=(0.25, 0.0), min_length=1)
    """Exponent of an item's popularity that is taken off."""
    user_exponent: tuple[NonNegativeFloat, ...] = Field(default=(0.5, 0.3, 0.2), min_length=1)
    """Exponent of a user's number of items that is taken off."""
    target_exponent: tuple[NonNegativeFloat, ...] = Field(default=(0.0, 0.15, 0.25), min_length=1)
    """Exponent of an item's popularity that is given back to its score."""
    local_neighbors: PositiveInt = 150
    """Items that explain an item in a catalog beyond `dense_items`."""

    def grid(self) -> dict[str, tuple[Any, ...]]:
        """What changes the weights, then what changes their scale."""
        return {
            "item_exponent": self.item_exponent,
            "user_exponent": self.user_exponent,
            "ridge": self.ridge,
            "target_exponent": self.target_exponent,
            "recency": self.recency,
        }


def fit_ease(name: str, split: Split, sides: Sides, config: EASEConfig, job: Job) -> ItemWeightsScorer:
    """Choose the settings on validation, one after the other."""
    started = time.perf_counter()
    pairs = split.train.matrix(binary=True)

    last: dict[tuple[Any, ...], Weights] = {}
    solved = Solved(name, config.dense_items, f"each item by its nearest {config.local_neighbors} alone")

    def build(settings: Settings) -> ItemWeightsScorer:
        matrix = sides.under(sides.beside(pairs, settings), settings)
        history = sides.beside(fading(split.train, settings["recency"]), settings)
        x, columns = ease_input(
            matrix, user_exponent=settings["user_exponent"], item_exponent=settings["item_exponent"]
        )
        key = tuple(value for setting, value in settings.items() if setting not in ("target_exponent", "recency"))
        if key not in last:
            last.clear()
            last[key] = (
                ease_weights(x, ridge=settings["ridge"])
                if solved.exactly(x.shape[1])
                else local_ease_weights(x, ridge=settings["ridge"], neighbors=config.local_neighbors)
            )
        n_items = pairs.shape[1]
        back = powers(column_sums(matrix)[:n_items], settings["target_exponent"])
        weights = last[key][:, :n_items]
        return ItemWeightsScorer(
            name,
            scaled(history, columns=columns),
            scaled(weights, columns=back) if isinstance(weights, sparse.csr_matrix) else weights * back,
            solved.told(x.shape[1]),
        )

    scorer, params = search_closed_form(name, split, sides, config, seed=job.seed, build=build)
    return replace(scorer, params={**params, **scorer.params}, fit_s=time.perf_counter() - started)


def _fit(split: Split, _: Knowledge, config: EASEConfig, job: Job) -> ItemWeightsScorer:
    return fit_ease("ease", split, Sides(), config, job)


def _fit_side(split: Split, known: Knowledge, config: EASEConfig, job: Job) -> ItemWeightsScorer:
    sides = Sides.of(known, neighbors=config.neighbors).with_users(known.user_attributes, len(split.train.users))
    return fit_ease("ease_side", split, sides, config, job)


MODELS = (
    Model(
        "ease",
        "EASE (Steck 2019) with degrees taken off",
        EASEConfig(),
        _fit,
        seeded=False,
        settle=EASEConfig.settled,
    ),
    Model(
        "ease_side",
        "EASE with rows of content neighbors and attributes, and columns of what users are",
        EASEConfig(),
        _fit_side,
        uses=frozenset({"text", "image", "audio", "attributes", "item_graph", "other_behavior"}),
        seeded=False,
        settle=EASEConfig.settled,
    ),
)
