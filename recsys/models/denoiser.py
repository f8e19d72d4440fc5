"""Denoising item factors: guess a user's hidden items from the shown ones, by the softmax over the catalog.

    z_u = sum over i in shown(u) of exp(g_i) a_i,      score(u, j) = cos(z_u, b_j) + t c_j,
    L   = - mean over u, j in hidden(u) of log softmax_j (cos(z_u, b_.) / t + c_.)

Each step hides a random share of each user's items, so that no item need be explained by itself: what the zero diagonal
is to EASE, and dropout to the denoising autoencoder of Liang et al. (2018), whose multinomial likelihood this is; with
cosines and a temperature as in Wu et al. (2022). The two sides of an item (a: what it says of others, b: what is said
of it) differ, g is how much an item says, c how likely anyone likes it. A user has no parameters: a new user is the sum
over the first few items, without training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy import sparse
from torch import nn
from torch.nn.functional import normalize

from features.checkpoint import fingerprint
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import settled
from recsys.objective import ObjectiveConfig, UserSoftmax, liked_pairs
from recsys.scorer import EmbeddingScorer
from recsys.trainer import Look, chosen_device, train_model
from recsys.validation import Validator

if TYPE_CHECKING:
    from optuna import Trial


class DenoiserConfig(ObjectiveConfig):
    """Settings of the denoising item factors."""

    dim: PositiveInt = 64
    """Length of an item's vectors."""
    start: float = Field(default=0.1, gt=0)
    """Standard deviation of the vectors before training."""
    shown_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of a user's items that are shown in a step; the others are to be guessed."""
    batch_users: PositiveInt = 512
    learning_rate: float = Field(default=0.02, gt=0)
    validation_users: PositiveInt = 10_000


class Denoiser(nn.Module):
    """Two vectors, a gain and a bias an item.

    Args:
        n_items: rows.
        config: width and start.
        seed: of the start.
    """

    def __init__(self, n_items: int, config: DenoiserConfig, *, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        draw = [config.start * rng.standard_normal((n_items, config.dim), dtype=np.float32) for _ in range(2)]
        self.says, self.said = (nn.Parameter(torch.from_numpy(one)) for one in draw)
        self.gain, self.bias = (nn.Parameter(torch.zeros(n_items)) for _ in range(2))

    def users(self, user: torch.Tensor, item: torch.Tensor, n_users: int) -> torch.Tensor:
        """Directions of users from their items.

        Args:
            user: int64 [n]; which of the users each shown pair is of.
            item: int64 [n]; its item.
            n_users: how many users.

        Returns:
            float32 [n_users, dim], each of length 1, or 0 where nothing is shown.
        """
        said = self.says[item] * self.gain[item].exp()[:, None]
        return normalize(torch.zeros(n_users, said.shape[1], device=said.device).index_add_(0, user, said))


class DenoiserLearner:
    """Its steps.

    Args:
        model: what is trained.
        liked: [n_users, n_items]; the pairs, with their weights in the loss.
        config: batches, temperature, shown share.
        device: where the model lives.
    """

    def __init__(self, model: Denoiser, liked: sparse.csr_matrix, config: DenoiserConfig, *, device: str) -> None:
        self.model, self._liked, self._config, self._device = model, liked, config, device
        self._softmax = UserSoftmax(liked, config)

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """One loss a batch of users; who has nothing shown or nothing hidden sits it out."""
        for batch in self._softmax.batches(rng):
            shown = rng.random(len(batch.user)) < self._config.shown_share
            asked = ~shown & (np.bincount(batch.user[shown], minlength=len(batch.users)) > 0)[batch.user]
            items = self._moved(batch.items)
            z = self.model.users(
                self._moved(batch.user[shown]), items[self._moved(batch.item[shown])], len(batch.users)
            )
            cosines = z @ normalize(self.model.said[items]).T
            hidden = replace(batch, user=batch.user[asked], item=batch.item[asked], weight=batch.weight[asked])
            yield self._softmax.loss(cosines, self.model.bias[items], hidden)

    @torch.no_grad()
    def look(self, validator: Validator) -> Look:
        """Users from all of their items; an item without events has the mean of all others, and so stands amid them."""
        n_users, n_items = self._liked.shape
        pairs = self._liked.tocoo()
        users = self.model.users(
            self._moved(pairs.row.astype(np.int64)), self._moved(pairs.col.astype(np.int64)), n_users
        )
        items = torch.cat([normalize(self.model.said), self._config.temperature * self.model.bias[:, None]], dim=1)
        met = self._moved(np.bincount(pairs.col, minlength=n_items) > 0)
        items[~met] = items[met].mean(dim=0)
        users = torch.cat([users, torch.ones_like(users[:, :1])], dim=1)
        recall = validator.recall(users, items, torch.zeros(n_items, dtype=torch.bool, device=self._device))[0]
        return Look({"users": users, "items": items}, recall, {})

    def _moved(self, array: NDArray[np.int64] | NDArray[np.bool_]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _search(trial: Trial) -> Changes:
    return {
        "dim": trial.suggest_categorical("dim", [64, 128]),
        "shown_share": trial.suggest_float("shown_share", 0.3, 0.8),
        "temperature": trial.suggest_float("temperature", 0.08, 0.4, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-3, 5e-2, log=True),
    }


def fit_denoiser(split: Split, config: DenoiserConfig, job: Job) -> EmbeddingScorer:
    """Train, or go on training, and return the best epoch as embeddings."""
    n_users, n_items = len(split.train.users), len(split.train.items)
    if len(split.train) == 0:
        nothing = np.zeros((n_users, 1), np.float32), np.zeros((n_items, 1), np.float32)
        return EmbeddingScorer("denoiser", *nothing, params={"note": "no training events"})
    device = chosen_device(config.device)
    liked = liked_pairs(split.train, config)
    sides = (part for side in (split.train, split.valid) for part in (side.user_idx, side.item_idx, side.weight))
    run = fingerprint("denoiser", config.model_dump_json(exclude={"device"}), str(job.seed), *sides)
    trained = train_model(
        DenoiserLearner(Denoiser(n_items, config, seed=job.seed).to(device), liked, config, device=device),
        Validator(liked, split.valid.matrix(binary=True), max_users=config.validation_users, seed=job.seed),
        config,
        seed=job.seed,
        path=job.run_dir / f"denoiser-{run[:12]}" / "checkpoint.safetensors",
        what="denoiser",
        watch=job.watch,
    )
    users, items = (trained.embeddings[kind].numpy() for kind in ("users", "items"))
    return EmbeddingScorer("denoiser", users, items, params=trained.told())


def _fit(split: Split, _: Knowledge, config: DenoiserConfig, job: Job) -> EmbeddingScorer:
    return fit_denoiser(split, config, job)


MODEL = Model(
    "denoiser",
    "item factors that guess a user's hidden items from the shown ones, by softmax (after Liang et al. 2018)",
    DenoiserConfig(),
    _fit,
    search=_search,
    settle=settled,
)
