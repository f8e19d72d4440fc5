"""The leading directions of what users have, with and without side rows; see `recsys.linear.spectral`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt

from recsys.held_out import Split
from recsys.linear.history import fading
from recsys.linear.scaling import powers, scaled
from recsys.linear.spectral import leading_directions, spectral_input
from recsys.models.closed_form import ClosedFormConfig, Settings, Sides, search_closed_form
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, Model
from recsys.scorer import EmbeddingScorer

MOST = 8
"""There are at most a direction for so many users, and for so many items: with all of them nothing would be cut."""


class SpectralConfig(ClosedFormConfig):
    """Settings of the filter."""

    smoothing: tuple[NonNegativeFloat, ...] = Field(default=(1.0, 0.3, 3.0, 0.0), min_length=1)
    """How much is added to all degrees before they are taken off, as a multiple of their mean."""
    target_exponent: tuple[NonNegativeFloat, ...] = Field(default=(0.4, 0.5, 0.3, 0.2), min_length=1)
    """How much of an item's popularity is given back to its score."""
    rank: tuple[PositiveInt, ...] = Field(default=(512, 1024, 256, 128, 64, 32), min_length=1)
    """Directions that are kept; at most one for 8 users, and one for 8 items."""

    def grid(self) -> dict[str, tuple[Any, ...]]:
        """What changes the directions, then what changes their scale, then their number, then what is
        filtered.
        """
        return {
            "smoothing": self.smoothing,
            "target_exponent": self.target_exponent,
            "rank": self.rank,
            "recency": self.recency,
        }

    def within(self, shape: tuple[int, int]) -> SpectralConfig:
        """No more directions than make sense for so many users and items."""
        most = max(1, min(shape) // MOST)
        return self.model_copy(update={"rank": tuple(dict.fromkeys(min(rank, most) for rank in self.rank))})


def fit_spectral(name: str, split: Split, sides: Sides, config: SpectralConfig, job: Job) -> EmbeddingScorer:
    """Choose the settings on validation, one after the other."""
    started = time.perf_counter()
    pairs = split.train.matrix(binary=True)
    last: dict[tuple[Any, ...], tuple[NDArray[np.float32], NDArray[np.float64]]] = {}

    def build(settings: Settings) -> EmbeddingScorer:
        key = tuple(value for setting, value in settings.items() if setting not in ("target_exponent", "recency"))
        if key not in last:
            last.clear()
            matrix = sides.under(sides.beside(pairs, settings), settings)
            matrix, degrees = spectral_input(matrix, settings["smoothing"])
            last[key] = leading_directions(matrix, settings["rank"]), degrees
        directions, degrees = last[key]
        history = sides.beside(fading(split.train, settings["recency"]), settings)
        users = scaled(history, columns=powers(degrees, -0.5)) @ directions
        items = powers(degrees, settings["target_exponent"])[:, None] * directions
        return EmbeddingScorer(name, users, items[: pairs.shape[1]])

    within = config.within(pairs.shape)
    scorer, params = search_closed_form(name, split, sides, within, seed=job.seed, build=build)
    return replace(scorer, params=params, fit_s=time.perf_counter() - started)


def _fit(split: Split, _: Knowledge, config: SpectralConfig, job: Job) -> EmbeddingScorer:
    return fit_spectral("spectral", split, Sides({}), config, job)


def _fit_side(split: Split, known: Knowledge, config: SpectralConfig, job: Job) -> EmbeddingScorer:
    return fit_spectral("spectral_side", split, Sides.of(known, neighbors=config.neighbors), config, job)


MODELS = (
    Model(
        "spectral",
        "an ideal low-pass filter (Shen et al. 2021) with smoothed degrees (Peng et al. 2022)",
        SpectralConfig(),
        _fit,
        seeded=False,
        settle=SpectralConfig.settled,
    ),
    Model(
        "spectral_side",
        "the low-pass filter over users, content neighbors and attributes",
        SpectralConfig(),
        _fit_side,
        uses=frozenset({"text", "image", "audio", "attributes", "item_graph", "other_behavior"}),
        seeded=False,
        settle=SpectralConfig.settled,
    ),
)
