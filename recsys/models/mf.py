"""Matrix factorization: score(u, i) = <p_u, q_i> + b_i (Rendle et al. 2009; Koren, Bell & Volinsky 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import PairConfig, PairModel, Scored, drawn, fit_pairs, settled
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class MFConfig(PairConfig):
    """Settings of matrix factorization."""


class MF(PairModel):
    """A vector a user, a vector and a bias an item.

    Args:
        n_users: rows of users.
        n_items: rows of items.
        config: width and start.
        seed: of the start.
    """

    def __init__(self, n_users: int, n_items: int, config: MFConfig, *, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.user, self.item = drawn((n_users, config.dim), config, rng), drawn((n_items, config.dim), config, rng)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """The parameters themselves."""
        return Scored(self.user[users], self.item[items], self.bias[items])

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of vectors and biases."""
        return self.user[users].square().sum() + self.item[items].square().sum() + self.bias[items].square().sum()


def search_pairs(trial: Trial) -> Changes:
    """Where the settings that all pair models share are sought."""
    found: dict[str, object] = {
        "loss": trial.suggest_categorical("loss", ["bpr", "softmax"]),
        "start": trial.suggest_float("start", 3e-3, 0.1, log=True),
        "dim": trial.suggest_categorical("dim", [64, 128]),
        "penalty": trial.suggest_float("penalty", 1e-6, 1e-1, log=True),
    }
    if found["loss"] == "softmax":
        found["temperature"] = trial.suggest_float("temperature", 0.08, 0.4, log=True)
        found["learning_rate"] = trial.suggest_float("softmax_rate", 5e-3, 5e-2, log=True)
    else:
        found["learning_rate"] = trial.suggest_float("bpr_rate", 1e-3, 1e-2, log=True)
    return found


def _fit(split: Split, _: Knowledge, config: MFConfig, job: Job) -> EmbeddingScorer:
    return fit_pairs("mf", lambda likes, config, seed, _: MF(*likes.shape, config, seed=seed), split, config, job)


MODEL = Model(
    "mf",
    "matrix factorization by pairs (Rendle et al. 2009)",
    MFConfig(),
    _fit,
    search=search_pairs,
    settle=settled,
)
