"""VBPR (He & McAuley 2016): factorization with a second pair of factors that hears what an item looks and reads like.

    score(u, i) = b_i + <p_u, q_i> + <t_u, E f_i> + <v, f_i>

with f_i the item's frozen features; the projection E and the direction v of what pleases everyone are learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import nn

from features.checkpoint import fingerprint
from graph.content import centered
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.mf import search_pairs
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import PairConfig, PairModel, Scored, drawn, fit_pairs, settled
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class VBPRConfig(PairConfig):
    """Settings of VBPR."""

    content_dim: PositiveInt = 64
    """Length of the factors that hear the content."""


class VBPR(PairModel):
    """Factors of users and items, and projected content.

    Args:
        n_users: rows of users.
        features: float32 [n_items, d]; f.
        config: widths and start.
        seed: of the start.
    """

    def __init__(self, n_users: int, features: NDArray[np.float32], config: VBPRConfig, *, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        n_items, width = features.shape
        self.user, self.item = drawn((n_users, config.dim), config, rng), drawn((n_items, config.dim), config, rng)
        self.taste = drawn((n_users, config.content_dim), config, rng)
        self.projection = drawn((width, config.content_dim), config, rng)
        self.pleasing = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.register_buffer("_features", torch.from_numpy(features), persistent=False)
        self._features: torch.Tensor

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """Both pairs of factors side by side, the two biases as one."""
        seen = self._features[items]
        return Scored(
            torch.cat([self.user[users], self.taste[users]], dim=1),
            torch.cat([self.item[items], seen @ self.projection], dim=1),
            self.bias[items] + seen @ self.pleasing,
        )

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of users' and items' own parameters, and of the shared ones once."""
        own = (self.user[users], self.taste[users], self.item[items], self.bias[items])
        shared = (self.projection, self.pleasing)
        return torch.stack([part.square().sum() for part in (*own, *shared)]).sum()


def _search(trial: Trial) -> Changes:
    return {**search_pairs(trial), "content_dim": trial.suggest_categorical("content_dim", [32, 64, 128])}


def _fit(split: Split, known: Knowledge, config: VBPRConfig, job: Job) -> EmbeddingScorer:
    parts = [centered(one) for _, one in sorted(known.modalities.items())]
    features = np.concatenate([np.zeros((len(known.catalog), 0), np.float32), *parts], axis=1)
    return fit_pairs(
        "vbpr",
        lambda likes, config, seed, _: VBPR(likes.shape[0], features, config, seed=seed),
        split,
        config,
        job,
        depends_on=fingerprint(features),
    )


MODEL = Model(
    "vbpr",
    "VBPR (He & McAuley 2016)",
    VBPRConfig(),
    _fit,
    search=_search,
    uses=frozenset({"text", "image", "audio"}),
    needs_content=True,
    settle=settled,
)
