"""Train the GNN on behavior: all users once an epoch, in a few large batches, each against the whole catalog.

One step propagates once over the whole graph and takes, for each user of the batch, the softmax of its scores for all
(or a bounded sample of) items; every liked item of the user is a positive. Training by user rather than by pair
costs one row of scores a user instead of one a pair, and no negative need be drawn while the catalog is small.
Memory: a few arrays of nodes x dim, and batch_users x max_candidates scores, whatever the size of the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from pydantic import Field

from features.errors import InputError
from features.interactions import Interactions
from graph.build import GraphConfig
from graph.cold_tower import ColdTower
from graph.knowledge_graph import KnowledgeGraph
from graph.models.kg_gnn import KGGNN, GNNConfig
from graph.sampling.neighborhood import Neighborhood
from recsys.negatives import Batch
from recsys.newcomers import NEWCOMER_BONUSES, choose_bonus
from recsys.objective import ObjectiveConfig, UserSoftmax, fit_fingerprint, liked_pairs
from recsys.parallel import Team, team
from recsys.sampled import LikedPairs, SamplingConfig, drawn_ahead, first_met
from recsys.trainer import Entry, Look, Trained, Watch, chosen_device, train_model, value_at
from recsys.validation import Validator

log = structlog.get_logger()


class TrainConfig(ObjectiveConfig):
    """How the GNN is trained."""

    hidden_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the items treated as new in each step, so that new items learn to be placed by their content."""
    content_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the content dimensions left out in each step, so that content is not learned by heart."""
    sampling: SamplingConfig = SamplingConfig.field()
    """Whether each step goes over neighborhoods drawn for its batch instead of over the whole graph."""


@dataclass(frozen=True, eq=False)
class FittedGNN:
    """What training leaves; the score of a user and an item is the dot product of their embeddings.

    Args:
        user_embeddings: float32 [n_users, dim + 1]: a direction of length 1, then a 1; a user of whom nothing is
            known has the mean direction of all others, or a zero row where nobody is known.
        item_embeddings: float32 [n_items, dim + 1]: a direction of length 1 (0 where nothing at all is known of the
            item), then its prior.
        history: one entry a look at validation: epoch, loss, recall@20, newcomer_bonus.
        best_epoch: the epoch the embeddings are from; 0 where nothing was trained.
        cold: places items that join later.
        cut_short: whether the time budget ended the training.
    """

    user_embeddings: NDArray[np.float32]
    item_embeddings: NDArray[np.float32]
    history: list[Entry]
    best_epoch: int
    cold: ColdTower
    cut_short: bool = False

    @property
    def best_recall(self) -> float:
        """Validation recall@20 of the best epoch; NaN where nothing was trained or nothing is held out."""
        return value_at(self.history, self.best_epoch)

    @property
    def item_directions(self) -> NDArray[np.float32]:
        """Items without their priors, float32 [n_items, dim]: the cosine of two says how alike their users are."""
        return self.item_embeddings[:, :-1]


def fit_gnn(
    graph: KnowledgeGraph,
    *,
    graph_config: GraphConfig,
    content: NDArray[np.float32],
    train: Interactions,
    valid: Interactions,
    config: TrainConfig,
    model_config: GNNConfig,
    run_dir: Path,
    seed: int,
    watch: Watch | None = None,
) -> FittedGNN:
    """Train, or go on training, and return the embeddings of the epoch with the best validation recall@20.

    Without training events nothing is trained: items are placed by content and attributes smoothed over the graph.
    Without validation pairs all epochs are run and the last one counts.

    Args:
        graph: built from `train` alone.
        graph_config: by these settings.
        content: float32 [n_items, d_content]; see `graph.content.item_content`.
        train: events to learn from; each different (user, item) pair is a positive.
        valid: pairs that decide when to stop.
        config: how to train.
        model_config: shape of the model.
        run_dir: where checkpoints go, in a folder named after the inputs and settings: the same call goes on where
            an earlier one stopped and gives the same numbers, a changed one starts afresh.
        seed: of every random choice.
        watch: told of every look at validation.

    Raises:
        InputError: a checkpoint in `run_dir` is damaged, or `config.sampling` does not fit the model, the graph or the
            events.
    """
    config.sampling.check(model_config.layers)
    times, past = np.zeros(0), None
    if config.sampling.past and len(train):
        if graph_config.timeless:
            raise InputError(
                "sampling.past shows the graph as it was before a batch, which graph."
                f"{graph_config.timeless[0]} is not made for: it goes by all events or reviews at once"
            )
        times, past = first_met(train, train.matrix(binary=True)), train
    device, fanouts = chosen_device(config.device), config.sampling.fanouts
    model = KGGNN(graph, content, model_config, seed=seed, device=device, fanouts=fanouts, past=past)
    if len(train) == 0:
        log.info("nothing to train on, items are placed by content", items=graph.n_nodes["item"])
        return _fitted(Trained(_embeddings(model, 0.0), [], 0))
    known = (" ".join(EMBEDDINGS), model_config.model_dump_json(), content, *graph.parts(), times)
    run = fit_fingerprint("gnn", config, train, valid, *known, seed=seed)
    learn = SampledGNNLearner if config.sampling else GNNLearner
    trained = train_model(
        learn(model, train, config, team=team()),
        Validator(train.matrix(binary=True), valid.matrix(binary=True), max_users=config.validation_users, seed=seed),
        config,
        seed=seed,
        path=run_dir / f"gnn-{run[:12]}" / "checkpoint.safetensors",
        what="the GNN",
        fused=False,
        watch=watch,
    )
    return _fitted(trained)


class GNNLearner:
    """The GNN's steps: items hidden and content dropped out at random, and newcomers raised as validation asks.

    Args:
        model: what is trained.
        train: events to learn from.
        config: how.
        team: with whom the batches are shared.
    """

    def __init__(self, model: KGGNN, train: Interactions, config: TrainConfig, *, team: Team | None = None) -> None:
        self.model, self._train, self._config, self._team = model, train, config, team or Team()
        self._liked = liked_pairs(train, config)
        self._liked.sort_indices()
        self._softmax = UserSoftmax(self._liked, config)

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """One loss a batch of users."""
        for batch in self._softmax.batches(rng):
            users_z, items_z, prior = self.model(*self._left_out(rng))
            mine, _, share = batch.part(self._team)
            items = self._moved(mine.items)
            cosines = users_z[self._moved(mine.users)] @ items_z[items].T
            yield share * self._softmax.loss(cosines, prior[items], mine)

    def _left_out(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The items hidden in a step and the gains of the content's dimensions, see `KGGNN.forward`."""
        hidden = rng.random(len(self.model.prior)) < self._config.hidden_share
        kept = rng.random(self.model.projection.shape[0]) >= self._config.content_dropout
        return self._moved(hidden), self._moved(kept.astype(np.float32) / (1 - self._config.content_dropout))

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.node.device)

    def look(self, validator: Validator) -> Look:
        """The embeddings, with the bonus for newcomers that validation asks for."""
        embeddings = _embeddings(self.model, self._config.temperature)
        newcomers = self.model.newcomers
        judged = len(validator) > 0 and bool(newcomers.any())
        bonuses = NEWCOMER_BONUSES if judged else (0.0,)
        recalls = validator.recall(embeddings["users"], embeddings["items"], newcomers, bonuses)
        bonus, recall = choose_bonus(bonuses, recalls)
        embeddings["items"][:, -1] += bonus * newcomers
        embeddings["newcomer_prior"] += bonus
        return Look(embeddings, recall, {"newcomer_bonus": bonus})


class SampledGNNLearner(GNNLearner):
    """The same on drawn neighborhoods, with batches of pairs: a user whose items were all to be predicted would have
    no neighbors left. Made as a `GNNLearner` is, of a model with fan-outs and, for `sampling.past`, with the events.
    """

    @cached_property
    def _pairs(self) -> LikedPairs:
        time = first_met(self._train, self._liked) if self._config.sampling.past else None
        return LikedPairs(self._liked, time, min_steps=self._config.min_steps)

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """One loss a batch of pairs."""
        sampling = self._config.sampling
        epoch = self._pairs.epoch(sampling.batch_pairs, rng)

        def batch(step: int, chance: np.random.Generator) -> tuple[Batch, float]:
            whole = self._pairs.batch(epoch.runs[step], sampling.others, chance)
            mine, _, share = whole.part(self._team)
            return mine, share

        def draw(step: int) -> Neighborhood:
            chance, run = epoch.rng(step), epoch.runs[step]
            mine = batch(step, chance)[0]
            hidden = self.model.rows(self._pairs.user[run], self._pairs.item[run]).view(2, -1)
            rows = self.model.rows(mine.users, mine.items)
            key = int(chance.integers(2**62))
            return self.model.neighborhoods.draw(rows, without=hidden, seed=key, before=epoch.cut(step))

        device = str(self.model.node.device)
        ahead = drawn_ahead(draw, len(epoch.runs), workers=sampling.workers, device=device)
        for step, drawn in enumerate(ahead):
            mine, share = batch(step, epoch.rng(step))
            seen = self.model.near(drawn, len(mine.users), self._moved(mine.items), *self._left_out(rng))
            users_z, items_z, prior = seen
            yield share * self._softmax.loss(users_z @ items_z.T, prior, mine)


@torch.no_grad()
def _embeddings(model: KGGNN, temperature: float) -> dict[str, torch.Tensor]:
    """Users and items with their last column, and the parts of the tower for later items (see `FittedGNN`)."""
    users, items, prior = model()
    known = users.any(dim=1)
    if known.any() and not known.all():
        mean = users[known].mean(dim=0)
        users[~known] = mean / mean.norm().clamp(min=1e-12)
    ones = users.any(dim=1, keepdim=True).float()
    from_values, from_items = model.messages()
    return {
        "users": torch.cat([users, ones], dim=1),
        "items": torch.cat([items, temperature * prior[:, None]], dim=1),
        "projection": model.projection.detach().clone(),
        "value_messages": from_values,
        "item_messages": from_items,
        "newcomer_prior": temperature * float(model.config.item_prior) * model.newcomer_prior.detach().clone(),
    }


EMBEDDINGS = ("users", "items", "projection", "value_messages", "item_messages", "newcomer_prior")
"""What `_embeddings` gives and a checkpoint keeps of the best epoch."""


def _fitted(trained: Trained) -> FittedGNN:
    arrays = {name: one.cpu().numpy() for name, one in trained.embeddings.items()}
    cold = ColdTower(
        arrays["projection"], arrays["value_messages"], arrays["item_messages"], float(arrays["newcomer_prior"])
    )
    return FittedGNN(arrays["users"], arrays["items"], trained.history, trained.best_epoch, cold, trained.cut_short)
