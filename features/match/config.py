"""How the image-text match model is trained."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from features.section import Section

MAX_LOGIT_SCALE = math.log(100)
"""The learned inverse temperature stays below 100, as in CLIP (Radford et al., 2021)."""


class MatchConfig(Section):
    """The two-tower match model; the defaults suit shops of a few hundred to a million listings."""

    dim: PositiveInt = 256
    """Length of a vector in the space that words and pictures share."""

    hidden: PositiveInt = 512
    """Width of each tower's hidden layer."""

    folds: Annotated[int, Field(ge=2, le=20)] = 4
    """Listings are judged by models trained on the other folds, so that none is judged by one that learned it."""

    epochs: PositiveInt = 60
    """Most passes over the pairs."""

    patience: PositiveInt = 4
    """Training stops when the held-out loss has not improved for so many epochs."""

    batch: Annotated[int, Field(ge=2)] = 512
    """Pairs in a batch; each pair's negatives are the other pairs of its batch."""

    learning_rate: PositiveFloat = 1e-3
    """Of AdamW."""

    weight_decay: NonNegativeFloat = 0.05
    """Of AdamW."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of inputs and hidden units dropped in training."""

    noise: NonNegativeFloat = 0.1
    """Standard deviation of the noise added to the standardized inputs in training."""

    prior: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Share of listings supposed to carry the right picture, before it is looked at. A shop whose pictures say nothing
    about its words gives every listing this score."""

    min_pairs: Annotated[int, Field(ge=32)] = 50
    """A shop with fewer different texts, or fewer different pictures, among the listings that have both is not judged:
    all scores are NaN."""

    max_pairs: PositiveInt = 50_000
    """Larger shops are learned from a random sample of this many pairs."""
