"""Denoising item factors: guess a user's hidden items from the shown ones, by the softmax over the catalog.

    z_u = sum over i in shown(u) of exp(g_i) a_i + F f_u,      score(u, j) = cos(z_u, b_j) + t c_j,
    a_i = a0_i + P x_i,      b_j = b0_j + Q x_j,
    L   = - mean over u, j in hidden(u) of log softmax_j (cos(z_u, b_.) / t + c_.)

Each step hides a random share of each user's items, so that no item need be explained by itself: what the zero diagonal
is to EASE, and dropout to the denoising autoencoder of Liang et al. (2018), whose multinomial likelihood this is; with
cosines and a temperature as in Wu et al. (2022). The two sides of an item (a: what it says of others, b: what is said
of it) differ, g is how much an item says, c how likely anyone likes it. A user has no parameters: a new user is the sum
over the first few items, without training.

With side information, x_i holds an item's content and attribute values (some of whose dimensions are left out in each
step, so that they are not learned by heart) and f_u a user's values; without, both are empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy import sparse
from torch import nn
from torch.nn.functional import normalize

from recsys.held_out import Split
from recsys.models.facts import Facts, thinned, told
from recsys.models.knowledge import Knowledge
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import settled
from recsys.objective import ObjectiveConfig, UserSoftmax, fit_fingerprint, liked_pairs
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
    content_dim: PositiveInt = 128
    """Principal directions of content that are told."""
    min_owners: PositiveInt = 5
    """Fewest items or users that have an attribute value for it to be told."""
    facts_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of the content directions and of the attribute values of items that are left out in each step."""
    batch_users: PositiveInt = 512
    learning_rate: float = Field(default=0.02, gt=0)
    validation_users: PositiveInt = 10_000


class Denoiser(nn.Module):
    """Two vectors, a gain and a bias an item; two a direction of content and a value of items, one a value of users.

    Args:
        n_items: rows.
        config: width and start.
        seed: of the start.
        facts: what is known of items and users.
    """

    def __init__(self, n_items: int, config: DenoiserConfig, *, seed: int, facts: Facts) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        draw = [config.start * rng.standard_normal((n_items, config.dim), dtype=np.float32) for _ in range(2)]
        self.says, self.said = (nn.Parameter(torch.from_numpy(one)) for one in draw)
        self.gain, self.bias = (nn.Parameter(torch.zeros(n_items)) for _ in range(2))
        known = facts.content.shape[1] + facts.items.shape[1]
        self.facts_say, self.facts_said = (nn.Parameter(torch.zeros(known, config.dim)) for _ in range(2))
        self.traits = nn.Parameter(torch.zeros(facts.users.shape[1], config.dim))
        self.did_say = nn.Parameter(torch.zeros(facts.did.shape[1], config.dim))
        self.facts = facts
        self.register_buffer("_content", torch.from_numpy(facts.content), persistent=False)
        self._content: torch.Tensor

    def items(self, rows: NDArray[np.int64], kept: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Both sides of some items, each float32 [n, dim]: a times exp(g), and b.

        Args:
            rows: int64 [n].
            kept: float32 [n_facts]; factor on each direction of content and each value, to drop some out.
        """
        at, width = torch.from_numpy(rows).to(self.gain.device), self._content.shape[1]
        sides = []
        for own, facts in ((self.says, self.facts_say), (self.said, self.facts_said)):
            table = facts if kept is None else facts * kept[:, None]
            side = own[at] + self._content[at] @ table[:width]
            sides.append(side + told(self.facts.items[rows], table[width:]))
        return sides[0] * self.gain[at].exp()[:, None], sides[1]

    def users(
        self, rows: NDArray[np.int64], did: sparse.csr_matrix, user: torch.Tensor, said: torch.Tensor
    ) -> torch.Tensor:
        """Directions of users from their items, from what they did besides, and from what they are.

        Args:
            rows: int64 [n_users]; who they are.
            did: [n_users, kinds x n_items]; the shown part of what they did besides.
            user: int64 [n]; which of them each shown pair is of.
            said: float32 [n, dim]; what its item says.

        Returns:
            float32 [n_users, dim], each of length 1, or 0 where nothing is known.
        """
        known = told(self.facts.users[rows], self.traits) + told(did, self.did_say)
        return normalize(known.index_add(0, user, said))


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
        """One loss a batch of users; who has nothing hidden, or is nothing without what is hidden, sits it out."""
        n_facts, dropout = len(self.model.facts_say), self._config.facts_dropout
        for batch in self._softmax.batches(rng):
            shown = rng.random(len(batch.user)) < self._config.shown_share
            kept = None
            if n_facts:
                kept = self._moved((rng.random(n_facts) >= dropout).astype(np.float32) / np.float32(1 - dropout))
            says, said = self.model.items(batch.items, kept)
            did = thinned(self.model.facts.did[batch.users], self._config.shown_share, rng)
            user, said_of = self._moved(batch.user[shown]), says[self._moved(batch.item[shown])]
            z = self.model.users(batch.users, did, user, said_of)
            someone = (np.bincount(batch.user[shown], minlength=len(batch.users)) > 0) | (np.diff(did.indptr) > 0)
            if self.model.traits.shape[0]:
                someone[:] = True
            asked = ~shown & someone[batch.user]
            hidden = replace(batch, user=batch.user[asked], item=batch.item[asked], weight=batch.weight[asked])
            yield self._softmax.loss(z @ normalize(said).T, self.model.bias[self._moved(batch.items)], hidden)

    @torch.no_grad()
    def look(self, validator: Validator) -> Look:
        """Users from all of their items; an item without events has the mean of all others, and so stands amid them."""
        n_users, n_items = self._liked.shape
        pairs = self._liked.tocoo()
        says, said = self.model.items(np.arange(n_items))
        of_pair = says[self._moved(pairs.col.astype(np.int64))]
        user, did = self._moved(pairs.row.astype(np.int64)), self.model.facts.did
        users = self.model.users(np.arange(n_users), did, user, of_pair)
        items = torch.cat([normalize(said), self._config.temperature * self.model.bias[:, None]], dim=1)
        met = self._moved(np.bincount(pairs.col, minlength=n_items) > 0)
        items[~met] = items[met].mean(dim=0)
        users = torch.cat([users, torch.ones_like(users[:, :1])], dim=1)
        recall = validator.recall(users, items, torch.zeros(n_items, dtype=torch.bool, device=self._device))[0]
        return Look({"users": users, "items": items}, recall, {})

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _search(trial: Trial) -> Changes:
    return {
        "dim": trial.suggest_categorical("dim", [64, 128]),
        "shown_share": trial.suggest_float("shown_share", 0.3, 0.8),
        "temperature": trial.suggest_float("temperature", 0.08, 0.4, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-3, 5e-2, log=True),
    }


def fit_denoiser(name: str, split: Split, known: Knowledge | None, config: DenoiserConfig, job: Job) -> EmbeddingScorer:
    """Train, or go on training, and return the best epoch as embeddings.

    Args:
        name: of the model.
        split: what to learn from, and whose validation side says when to stop.
        known: side information; None for none.
        config: the settings.
        job: seed, folder, watch.
    """
    n_users, n_items = len(split.train.users), len(split.train.items)
    if len(split.train) == 0:
        nothing = np.zeros((n_users, 1), np.float32), np.zeros((n_items, 1), np.float32)
        return EmbeddingScorer(name, *nothing, params={"note": "no training events"})
    device = chosen_device(config.device)
    liked = liked_pairs(split.train, config)
    facts = Facts.none(n_users, n_items)
    if known is not None:
        facts = Facts.of(known, n_users, content_dim=config.content_dim, min_owners=config.min_owners)
    run = fit_fingerprint(name, config, split.train, split.valid, *facts.parts(), seed=job.seed)
    trained = train_model(
        DenoiserLearner(Denoiser(n_items, config, seed=job.seed, facts=facts).to(device), liked, config, device=device),
        Validator(liked, split.valid.matrix(binary=True), max_users=config.validation_users, seed=job.seed),
        config,
        seed=job.seed,
        path=job.run_dir / f"{name}-{run[:12]}" / "checkpoint.safetensors",
        what=name,
        watch=job.watch,
    )
    users, items = (trained.embeddings[kind].numpy() for kind in ("users", "items"))
    return EmbeddingScorer(name, users, items, params=trained.told())


def _fit(split: Split, _: Knowledge, config: DenoiserConfig, job: Job) -> EmbeddingScorer:
    return fit_denoiser("denoiser", split, None, config, job)


def _fit_side(split: Split, known: Knowledge, config: DenoiserConfig, job: Job) -> EmbeddingScorer:
    return fit_denoiser("denoiser_side", split, known, config, job)


MODELS = (
    Model(
        "denoiser",
        "item factors that guess a user's hidden items from the shown ones, by softmax (after Liang et al. 2018)",
        DenoiserConfig(),
        _fit,
        search=_search,
        settle=settled,
    ),
    Model(
        "denoiser_side",
        "the denoiser, told of content and of attributes of items and users",
        DenoiserConfig(),
        _fit_side,
        search=_search,
        uses=frozenset({"text", "image", "audio", "match", "attributes", "other_behavior"}),
        settle=settled,
    ),
)
