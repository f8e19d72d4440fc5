"""What a trained model is asked to get right: the softmax of each user over the catalog, in batches of users."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from features.checkpoint import fingerprint
from features.interactions import Interactions
from recsys.losses import softmax_loss
from recsys.negatives import Batch, draw_batch
from recsys.sampled import ASIDE
from recsys.trainer import LoopConfig


class ObjectiveConfig(LoopConfig):
    """The loop, and what its steps minimize."""

    batch_users: PositiveInt = 1024
    """Users a step."""
    min_steps: PositiveInt = 6
    """Steps an epoch has at least; a shop of few users takes smaller batches."""
    temperature: PositiveFloat = 0.2
    """Of the softmax over cosines; lower values make the hardest candidates count more."""
    max_candidates: int = Field(default=16_384, ge=2)
    """Items a batch is trained against; a larger catalog is sampled."""
    event_weights: bool = False
    """Whether a pair counts by the summed weight of its events (a purchase more than a view), against the mean;
    otherwise every pair counts alike."""
    debias: NonNegativeFloat = 0.0
    """Exponent of an item's popularity in its weight as a negative: 0 learns what is liked, popularity included; 1
    learns what is liked more than its popularity explains (Menon et al. 2021)."""


def fit_fingerprint(
    name: str,
    config: ObjectiveConfig,
    train: Interactions,
    valid: Interactions,
    *known: str | NDArray[np.generic],
    seed: int,
) -> str:
    """Hex digest of everything that a training depends on: the checkpoint of another is not gone on from.

    Args:
        name: of the model.
        config: its settings; those that change nothing of what is learned are left aside.
        train: events to learn from.
        valid: pairs that decide when to stop.
        known: further settings, and what is known beside the pairs and their weights.
        seed: of every random choice.
    """
    sides = (part for side in (train, valid) for part in (side.user_idx, side.item_idx, side.weight))
    return fingerprint(version("recsys"), name, config.model_dump_json(exclude=ASIDE), str(seed), *known, *sides)


def liked_pairs(train: Interactions, config: ObjectiveConfig) -> sparse.csr_matrix:
    """What is learned: [n_users, n_items], each pair's weight in the loss; all 1 but for `event_weights`."""
    liked = train.matrix(binary=not config.event_weights)
    if config.event_weights and liked.nnz:
        liked.data /= liked.data.mean()
    return liked


class UserSoftmax:
    """Batches of users and their loss.

    Args:
        liked: [n_users, n_items]; see `liked_pairs`.
        config: sizes, temperature, weights.
    """

    def __init__(self, liked: sparse.csr_matrix, config: ObjectiveConfig) -> None:
        self._liked, self._config = liked, config
        self._learners = np.flatnonzero(np.diff(liked.indptr))
        popularity = np.bincount(liked.indices, minlength=liked.shape[1])
        self._log_popularity = np.log(np.maximum(popularity, 1)).astype(np.float32)

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """All users with a liked item once, in random order, drawn as they are asked for."""
        order = rng.permutation(self._learners)
        n_steps = min(max(math.ceil(len(order) / self._config.batch_users), self._config.min_steps), len(order))
        for users in np.array_split(order, n_steps):
            yield draw_batch(self._liked, users, max_candidates=self._config.max_candidates, rng=rng)

    def loss(self, cosines: torch.Tensor, prior: torch.Tensor | float, batch: Batch) -> torch.Tensor:
        """Loss of a batch.

        Args:
            cosines: float [len(batch.users), len(batch.items)].
            prior: float [len(batch.items)]; what each item's logit has beside the cosine over the temperature.
            batch: whose users and items these are.
        """
        device = cosines.device

        def moved(array: NDArray[np.int64] | NDArray[np.float32]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        inclusion = batch.log_inclusion
        if self._config.debias:
            inclusion = inclusion - np.float32(self._config.debias) * self._log_popularity[batch.items]
        return softmax_loss(
            cosines / self._config.temperature + prior,
            moved(batch.user),
            moved(batch.item),
            log_inclusion=moved(inclusion),
            weight=moved(batch.weight) if self._config.event_weights else None,
        )
