"""Embedding models on ratings, by the shared training loop: the likes make the graph, likes and dislikes the loss.

    logit(u, i) = s cos(z_u, z_i) + b_i + b        loss: cross-entropy with the label

with z the embeddings of one of the models of `recsys/models/`, b_i its bias of the item (or one of our own, where it
has none), s and b learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from features.checkpoint import fingerprint
from graph.models.relational import RelationalConfig
from recsys.ctr.metrics import auc
from recsys.ctr.model import RatingModel, Task, sigmoid
from recsys.ctr.ratings import Ratings
from recsys.models.lightgcn import LightGCN, LightGCNConfig
from recsys.models.mf import MF, MFConfig
from recsys.models.pairs import PairModel
from recsys.models.relational import RelationalPairs
from recsys.trainer import Look, LoopConfig, chosen_device, train_model


class RatingLoopConfig(LoopConfig):
    """The loop on ratings."""

    batch_ratings: PositiveInt = 4096
    """Ratings a step."""
    evaluate_every: PositiveInt = 1
    weight_decay: NonNegativeFloat = 1.0
    """Few ratings are learned by heart within two epochs where nothing pulls back."""
    scale: float = Field(default=5.0, gt=0)
    """s before training."""


class Rated(nn.Module):
    """Logits of pairs.

    Args:
        pairs: gives the embeddings.
        n_items: number of items.
        scale: s before training.
    """

    def __init__(self, pairs: PairModel, n_items: int, *, scale: float) -> None:
        super().__init__()
        self.pairs = pairs
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.scale = nn.Parameter(torch.tensor(scale))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Logit of each pair, float32 [n]."""
        seen = self.pairs(users, items)
        cosine = (normalize(seen.users) * normalize(seen.items)).sum(dim=1)
        return self.scale * cosine + (self.bias[items] if seen.bias is None else seen.bias) + self.offset


@dataclass(frozen=True, eq=False)
class Embedded:
    """What training leaves.

    Args:
        users: float32 [n_users, dim].
        items: float32 [n_items, dim].
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]

    def probability(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float64]:
        """By the dot product."""
        return sigmoid(np.einsum("nd,nd->n", self.users[user_idx], self.items[item_idx], dtype=np.float64))


class RatingLearner:
    """Batches of ratings and their loss.

    Args:
        model: what is trained.
        train: ratings to learn from.
        config: of the loop.
        device: where the model lives.
    """

    def __init__(self, model: Rated, train: Ratings, config: RatingLoopConfig, *, device: str) -> None:
        self.model, self._config, self._device = model, config, device
        self._users, self._items = (torch.from_numpy(rows).to(device) for rows in (train.user_idx, train.item_idx))
        self._labels = torch.from_numpy(train.label.astype(np.float32)).to(device)
        self._n_users, self._n_items = len(train.users), len(train.items)

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """One loss a batch of ratings."""
        self.model.pairs.begin_epoch(rng)
        order = rng.permutation(len(self._labels))
        for rows in np.array_split(order, math.ceil(len(order) / self._config.batch_ratings)):
            batch = torch.from_numpy(rows).to(self._device)
            logits = self.model(self._users[batch], self._items[batch])
            yield binary_cross_entropy_with_logits(logits, self._labels[batch])

    @torch.no_grad()
    def look(self, judge: Ratings) -> Look:
        """Embeddings whose dot products are the logits, and their AUC."""
        self.model.pairs.begin_look()
        n_users, n_items, device = self._n_users, self._n_items, self._device
        seen = self.model.pairs(torch.arange(n_users, device=device), torch.arange(n_items, device=device))
        bias = self.model.offset + (self.model.bias if seen.bias is None else seen.bias)
        users = torch.cat([self.model.scale * normalize(seen.users), torch.ones(n_users, 1, device=device)], dim=1)
        items = torch.cat([normalize(seen.items), bias[:, None]], dim=1)
        found = Embedded(users.cpu().numpy(), items.cpu().numpy())
        value = auc(judge.label, found.probability(judge.user_idx, judge.item_idx))
        return Look({"users": users, "items": items}, value, {})


Build = Callable[[Task, str], PairModel]
"""Makes a model for a task on a device."""


def fit_embeddings(name: str, build: Build, task: Task, config: RatingLoopConfig | None = None) -> Embedded:
    """Train a model on ratings; the epoch with the best validation AUC counts.

    Args:
        name: of the model.
        build: makes it.
        task: what to learn from.
        config: of the loop.
    """
    config = config or RatingLoopConfig()
    device = chosen_device(config.device)
    run = fingerprint(name, config.model_dump_json(), str(task.seed), task.train.user_idx, task.train.item_idx)
    learner = RatingLearner(
        Rated(build(task, device), len(task.train.items), scale=config.scale).to(device),
        task.train,
        config,
        device=device,
    )
    trained = train_model(
        learner,
        task.valid,
        config,
        seed=task.seed,
        path=task.run_dir / f"{name}-{run[:12]}" / "checkpoint.safetensors",
        what=name,
        measure="auc",
    )
    return Embedded(trained.embeddings["users"].numpy(), trained.embeddings["items"].numpy())


def _mf(task: Task, device: str) -> PairModel:
    del device  # it has no graph
    return MF(len(task.train.users), len(task.train.items), MFConfig(), seed=task.seed)


def _lightgcn(task: Task, device: str) -> PairModel:
    return LightGCN(task.train.matrix(1), LightGCNConfig(layers=2), seed=task.seed, device=device)


def _relational(task: Task, device: str) -> PairModel:
    graph = task.facts.with_likes(task.train.liked())
    nothing = np.zeros((len(task.train.items), 0), dtype=np.float32)
    config = RelationalConfig(knowledge=2.0)
    return RelationalPairs(graph, nothing, config, seed=task.seed, device=device)


MODELS = tuple(
    RatingModel(name, summary, partial(fit_embeddings, name, build))
    for name, summary, build in (
        ("mf", "matrix factorization", _mf),
        ("lightgcn", "LightGCN (He et al. 2020) on the likes", _lightgcn),
        ("relational", "relational attention over likes and facts (graph/models/relational.py)", _relational),
    )
)
