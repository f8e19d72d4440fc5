"""What MF, LightGCN, VBPR and FREEDOM share: embeddings of users and items, learned from liked pairs.

score(u, i) = <z_u, z_i> + b_i. By BPR (Rendle et al. 2009) each liked pair is set against one item that the user lacks;
by softmax each user's liked items against the catalog, and then, as for the GNN, the z are compared by their directions
(Wu et al. 2022): score(u, i) = cos(z_u, z_i) + t b_i.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import sparse
from torch import nn
from torch.nn.functional import normalize

from features.interactions import Interactions
from recsys.held_out import Split
from recsys.losses import bpr_loss
from recsys.models.model import Job
from recsys.negatives import Batch, draw_others
from recsys.objective import ObjectiveConfig, UserSoftmax, fit_fingerprint, liked_pairs
from recsys.parallel import Team, team
from recsys.scorer import EmbeddingScorer
from recsys.trainer import Look, LoopConfig, chosen_device, train_model
from recsys.validation import Validator


class PairConfig(ObjectiveConfig):
    """What the pair-trained models share."""

    dim: PositiveInt = 64
    """Length of an embedding."""
    start: float = Field(default=0.01, gt=0)
    """Standard deviation of the embeddings before training; on sparse data a smaller one learned better."""
    loss: Literal["bpr", "softmax"] = "bpr"
    """bpr: against one other item; softmax: against the catalog, or `max_candidates` of it."""
    batch_pairs: PositiveInt = 2048
    """Pairs a step of BPR; the softmax goes by `batch_users`."""
    penalty: NonNegativeFloat = 1e-4
    """Weight of half the squared length of a pair's own parameters, before any propagation."""
    epochs: PositiveInt = 400
    learning_rate: float = Field(default=0.002, gt=0)
    evaluate_every: PositiveInt = 5
    patience: PositiveInt = 8
    validation_users: PositiveInt = 10_000


P = TypeVar("P", bound=PairConfig)
L = TypeVar("L", bound=LoopConfig)


@dataclass(frozen=True, eq=False)
class Scored:
    """Some users and items as the model sees them: users [n, dim], items [m, dim], bias [m] or None for none."""

    users: torch.Tensor
    items: torch.Tensor
    bias: torch.Tensor | None = None


class PairModel(nn.Module, ABC):
    """A model of users and items."""

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """What changes from epoch to epoch."""

    @abstractmethod
    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """Embeddings of some users and items, both int64 rows in any order and number."""

    @abstractmethod
    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Sum of the squares of the parameters that are these users' and items' own, float []."""

    def extra_loss(
        self,
        users: torch.Tensor,  # noqa: ARG002
        liked: torch.Tensor,  # noqa: ARG002
        others: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor | None:
        """A further loss on pairs: embeddings of users [n, dim], rows of liked and other items [n]. None for none."""
        return None

    def begin_look(self) -> None:
        """What is different when the model is judged."""


Build = Callable[[sparse.csr_matrix, P, int, str], PairModel]
"""Makes a model of the liked pairs [n_users, n_items], the settings, a seed and the device."""


def fit_pairs(
    name: str,
    build: Build[P],
    split: Split,
    config: P,
    job: Job,
    *,
    depends_on: str = "",
    learn: type[PairLearner] | None = None,
) -> EmbeddingScorer:
    """Train a model and return its best epoch as embeddings.

    Args:
        name: of the model.
        build: makes it.
        split: what to learn from, and whose validation side says when to stop.
        config: its settings.
        job: seed and checkpoints.
        depends_on: fingerprint of what it knows beside the events.
        learn: its steps, where they are not those of `PairLearner`.
    """
    if len(split.train) == 0:
        nothing = np.zeros((len(split.train.users), 1), np.float32), np.zeros((len(split.train.items), 1), np.float32)
        return EmbeddingScorer(name, *nothing, params={"note": "no training events"})
    device = chosen_device(config.device)
    liked = split.train.matrix(binary=True)
    run = fit_fingerprint(name, config, split.train, split.valid, depends_on, seed=job.seed)
    model = build(liked, config, job.seed, device).to(device)
    learner = (learn or PairLearner)(model, split.train, config, device=device, team=team())
    trained = train_model(
        learner,
        Validator(liked, split.valid.matrix(binary=True), max_users=config.validation_users, seed=job.seed),
        config,
        seed=job.seed,
        path=job.run_dir / f"{name}-{run[:12]}" / "checkpoint.safetensors",
        what=name,
        watch=job.watch,
    )
    users, items = (trained.embeddings[kind].numpy() for kind in ("users", "items"))
    return EmbeddingScorer(name, users, items, params=trained.told())


class PairLearner:
    """The steps of a pair model.

    Args:
        model: what is trained.
        train: events to learn from.
        config: losses, batches, weights.
        device: where the model lives.
        team: with whom the batches are shared.
    """

    def __init__(
        self,
        model: PairModel,
        train: Interactions,
        config: PairConfig,
        *,
        device: str = "cpu",
        team: Team | None = None,
    ) -> None:
        self.model, self._config, self._device, self._team = model, config, device, team or Team()
        self._train, self._liked = train, liked_pairs(train, config)
        self._liked.sort_indices()
        self._softmax = UserSoftmax(self._liked, config)
        self._pair_user = np.repeat(np.arange(self._liked.shape[0]), np.diff(self._liked.indptr)).astype(np.int64)
        popularity = np.bincount(self._liked.indices, minlength=self._liked.shape[1]).astype(np.float64)
        pull = np.where(popularity > 0, np.maximum(popularity, 1.0) ** config.debias, 0.0)
        self._chance = np.cumsum(pull) / pull.sum()
        self._chance[np.flatnonzero(pull)[-1] :] = 1.0

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """One loss a batch of pairs, or of users."""
        self.model.begin_epoch(rng)
        return self._by_pairs(rng) if self._config.loss == "bpr" else self._by_users(rng)

    def _by_pairs(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        order = rng.permutation(self._liked.nnz)
        others = draw_others(self._liked, self._pair_user, self._chance, rng)
        for batch in np.array_split(order, math.ceil(len(order) / self._config.batch_pairs)):
            user, liked, other = self._triples(batch, others)
            yield self._bpr(self.model(user, torch.cat([liked, other])), batch, user, liked, other)

    def _by_users(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        for batch in self._softmax.batches(rng):
            others = rng.integers(len(batch.items), size=len(batch.item))
            part = batch.part(self._team)[0]
            yield self._against(self.model(self._moved(part.users), self._moved(part.items)), batch, others)

    def _triples(
        self, batch: NDArray[np.int64], others: NDArray[np.int64]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Users, liked and other items of this process's part of a batch of pairs."""
        pairs = batch[self._team.part(len(batch))]
        rows = (self._pair_user, self._liked.indices, others)
        user, liked, other = (self._moved(row[pairs].astype(np.int64)) for row in rows)
        return user, liked, other

    def _bpr(
        self, seen: Scored, batch: NDArray[np.int64], user: torch.Tensor, liked: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """Loss of a part of a batch of pairs, whose users and liked, then other items are seen."""
        pairs = batch[self._team.part(len(batch))]
        share = float(self._liked.data[pairs].sum() / self._liked.data[batch].sum()) * self._team.size
        scores = (seen.users.repeat(2, 1) * seen.items).sum(dim=1)
        if seen.bias is not None:
            scores = scores + seen.bias
        weight = self._moved(self._liked.data[pairs]) if self._config.event_weights else None
        loss = bpr_loss(*scores.chunk(2), weight=weight)
        return share * loss + self._even(pairs, batch) * self._further(seen.users, user, liked, other)

    def _against(self, seen: Scored, batch: Batch, others: NDArray[np.int64]) -> torch.Tensor:
        """Loss of a part of a batch whose users and candidates are seen; `others` has the place of one a pair."""
        part, of_batch, share = batch.part(self._team)
        users, items = self._moved(part.users), self._moved(part.items)
        cosines = normalize(seen.users) @ normalize(seen.items).T
        loss = self._softmax.loss(cosines, 0.0 if seen.bias is None else seen.bias, part)
        user = self._moved(part.user)
        liked = items[self._moved(part.item)]
        other = items[self._moved(others[of_batch])]
        further = self._further(seen.users[user], users[user], liked, other)
        return share * loss + self._even(part.item, batch.item) * further

    def _even(self, part: NDArray[np.int64], batch: NDArray[np.int64]) -> float:
        """Weight of the mean over a part's pairs in a mean over the team that shall be the whole batch's."""
        return len(part) / len(batch) * self._team.size

    def _further(
        self, users_z: torch.Tensor, user: torch.Tensor, liked: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """The penalty, and what the model adds."""
        penalty = self._config.penalty / 2 / len(user)
        total = penalty * self.model.squares(user, torch.cat([liked, other]))
        extra = self.model.extra_loss(users_z, liked, other)
        return total if extra is None else total + extra

    @torch.no_grad()
    def look(self, validator: Validator) -> Look:
        """The embeddings of all users and items, the bias as their last column."""
        self.model.begin_look()
        n_users, n_items = self._liked.shape
        seen = self.model(torch.arange(n_users, device=self._device), torch.arange(n_items, device=self._device))
        users, items, bias = seen.users, seen.items, seen.bias
        if self._config.loss == "softmax":
            users, items = normalize(users), normalize(items)
            bias = None if bias is None else bias * self._config.temperature
        if bias is not None:
            users = torch.cat([users, torch.ones_like(users[:, :1])], dim=1)
            items = torch.cat([items, bias[:, None]], dim=1)
        embeddings = {"users": users.clone(), "items": items.clone()}
        recall = validator.recall(users, items, torch.zeros(n_items, dtype=torch.bool, device=self._device))[0]
        return Look(embeddings, recall, {})

    def _moved(self, array: NDArray[np.int64] | NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def drawn(shape: tuple[int, int], config: PairConfig, rng: np.random.Generator) -> nn.Parameter:
    """Normally distributed starting embeddings."""
    return nn.Parameter(torch.from_numpy(config.start * rng.standard_normal(shape, dtype=np.float32)))


def settled(config: L, params: Mapping[str, object]) -> L:
    """As many epochs as were best, in whatever time."""
    return config.model_copy(update={"epochs": params.get("best_epoch", config.epochs), "time_budget_s": None})
