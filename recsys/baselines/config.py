"""What is tried for each baseline; the best on validation is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from features.section import Section

BaselineName = Literal["random", "popularity", "item_knn", "als", "bpr", "content"]


class BaselinesConfig(Section):
    """Which baselines are fitted, and the grids they are chosen from.

    Every grid is walked one step after the other (first the values that depend on each other, then the rest), and the
    first value of each is what is used where there are no validation pairs to choose on.
    """

    models: tuple[BaselineName, ...] = ("random", "popularity", "item_knn", "als", "bpr", "content")
    """Baselines to fit."""
    tuned_k: PositiveInt = 20
    """List length of the validation recall that decides."""
    tuning_users: PositiveInt = 4_000
    """At most so many users, chosen at random, decide."""
    time_budget_s: PositiveFloat | None = None
    """No further values are tried for a model after so many seconds, and a warning says how many were left out. A
    budget that is reached makes the choice depend on the machine; none (null) never does."""

    knn_neighbors: tuple[PositiveInt, ...] = Field(default=(100, 20, 50, 200), min_length=1)
    """Neighbors kept an item."""
    knn_weightings: tuple[Literal["cosine", "bm25"], ...] = Field(default=("cosine", "bm25"), min_length=1)
    """How the user-item matrix is weighted before items are compared."""

    als_alphas: tuple[PositiveFloat, ...] = Field(default=(15.0, 5.0, 40.0), min_length=1)
    """Confidence of an observed pair (an unobserved one has 1)."""
    als_penalties: tuple[PositiveFloat, ...] = Field(default=(0.1, 0.03, 0.01, 0.3), min_length=1)
    """Regularization as a share of a mean user's total confidence: regularization = penalty * alpha * pairs a user."""
    als_factors: tuple[PositiveInt, ...] = Field(default=(64, 32, 128), min_length=1)
    """Width of the factors."""
    als_iterations: PositiveInt = 16
    """Most alternations; the best count is kept."""

    bpr_rates: tuple[PositiveFloat, ...] = Field(default=(0.01, 0.03, 0.1), min_length=1)
    """Learning rates."""
    bpr_penalties: tuple[PositiveFloat, ...] = Field(default=(0.01, 0.001, 0.03), min_length=1)
    """Regularization of each step."""
    bpr_factors: tuple[PositiveInt, ...] = Field(default=(64, 32, 128), min_length=1)
    """Width of the factors."""
    bpr_steps: PositiveInt = 20_000_000
    """Most training steps (one sampled pair each) of a trial; the best number of passes is kept."""
    bpr_max_passes: PositiveInt = 300
    """Most passes over the pairs of a trial, which ends small shops before `bpr_steps`."""

    image_shares: tuple[float, ...] = Field(default=(0.5, 0.0, 0.1, 0.25, 0.75, 1.0), min_length=1)
    """Weight of the picture in the content baseline's cosine, each in [0, 1]."""
