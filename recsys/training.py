"""Train the GNN on behavior: all users once an epoch, in a few large batches, each against the whole catalog.

One step propagates once over the whole graph and takes, for each user of the batch, the softmax of its scores for all
(or a bounded sample of) items; every liked item of the user is a positive. Training by user rather than by pair
costs one row of scores a user instead of one a pair, and no negative need be drawn while the catalog is small.
Memory: a few arrays of nodes x dim, and batch_users x max_candidates scores, whatever the size of the catalog.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from features.checkpoint import Checkpoint, fingerprint, optimizer_tensors, restore_optimizer
from features.encoders.embeddings import ItemVectors
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.progress import bar
from features.section import Section
from graph.cold_tower import ColdTower
from graph.content import item_content
from graph.knowledge_graph import KnowledgeGraph
from graph.models.kg_gnn import KGGNN, GNNConfig
from graph.schema import spell
from recsys.losses import softmax_loss
from recsys.negatives import draw_batch
from recsys.newcomers import NEWCOMER_BONUSES, choose_bonus
from recsys.validation import Validator

log = structlog.get_logger()


class TrainConfig(Section):
    """How the GNN is trained."""

    epochs: PositiveInt = 100
    """Most passes over the users."""
    batch_users: PositiveInt = 1024
    """Users a step."""
    learning_rate: PositiveFloat = 0.01
    """Of Adam."""
    min_steps: PositiveInt = 6
    """Steps an epoch has at least; a shop of few users takes smaller batches."""
    temperature: PositiveFloat = 0.2
    """Of the softmax over cosines; lower values make the hardest candidates count more."""
    hidden_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the items treated as new in each step, so that new items learn to be placed by their content."""
    content_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the content dimensions left out in each step, so that content is not learned by heart."""
    max_candidates: int = Field(default=16_384, ge=2)
    """Items a batch is trained against; a larger catalog is sampled."""
    weight_decay: NonNegativeFloat = 0.0
    """Pull of all parameters toward zero (decoupled, as in AdamW)."""
    evaluate_every: PositiveInt = 3
    """Epochs between two looks at validation; a checkpoint is written at each."""
    patience: PositiveInt = 5
    """Looks without a better validation recall after which training stops."""
    device: str = "auto"
    """"cpu", "cuda", or "auto" for CUDA where there is one."""


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
    """

    user_embeddings: NDArray[np.float32]
    item_embeddings: NDArray[np.float32]
    history: list[dict[str, float]]
    best_epoch: int
    cold: ColdTower

    @property
    def best_recall(self) -> float:
        """Validation recall@20 of the best epoch; NaN where nothing was trained or nothing is held out."""
        return _recall_at(self.history, self.best_epoch)

    @property
    def item_directions(self) -> NDArray[np.float32]:
        """Items without their priors, float32 [n_items, dim]: the cosine of two says how alike their users are."""
        return self.item_embeddings[:, :-1]


def fit_gnn(
    graph: KnowledgeGraph,
    *,
    vectors: ItemVectors,
    match: MatchScores,
    train: Interactions,
    valid: Interactions,
    config: TrainConfig,
    model_config: GNNConfig,
    run_dir: Path,
    seed: int,
) -> FittedGNN:
    """Train, or go on training, and return the embeddings of the epoch with the best validation recall@20.

    Without training events nothing is trained: items are placed by content and attributes smoothed over the graph.
    Without validation pairs all epochs are run and the last one counts.

    Args:
        graph: built from `train` alone.
        vectors: text and image vectors of the items.
        match: agreement of picture and words.
        train: events to learn from; each different (user, item) pair is a positive.
        valid: pairs that decide when to stop.
        config: how to train.
        model_config: shape of the model.
        run_dir: where checkpoints go, in a folder named after the inputs and settings: the same call goes on where
            an earlier one stopped and gives the same numbers, a changed one starts afresh.
        seed: of every random choice.

    Raises:
        InputError: a checkpoint in `run_dir` is damaged.
    """
    device = _device(config.device)
    content = item_content(vectors, match, image_share=model_config.image_share)
    model = KGGNN(graph, content, model_config, seed=seed, device=device)
    if len(train) == 0:
        log.info("nothing to train on, items are placed by content", items=graph.n_nodes["item"])
        return _fitted(_embeddings(model, 0.0), [], 0)
    run = fingerprint(
        version("recsys"),
        " ".join(EMBEDDINGS),
        config.model_dump_json(exclude={"device"}),
        model_config.model_dump_json(),
        str(seed),
        content,
        *_graph_parts(graph),
        valid.user_idx,
        valid.item_idx,
    )
    trainer = _Trainer(
        model, train, valid, config, seed=seed, path=run_dir / f"gnn-{run[:12]}" / "checkpoint.safetensors"
    )
    trainer.resume()
    return trainer.run()


class _Trainer:
    """The loop and its state; everything that changes is in `_checkpoint`."""

    def __init__(
        self, model: KGGNN, train: Interactions, valid: Interactions, config: TrainConfig, *, seed: int, path: Path
    ) -> None:
        self._model, self._config, self._seed, self._path = model, config, seed, path
        self._liked = train.matrix(binary=True)
        self._learners = np.flatnonzero(np.diff(self._liked.indptr))
        self._validator = Validator(self._liked, valid.matrix(binary=True), seed=seed)
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._history: list[dict[str, float]] = []
        self._best: dict[str, torch.Tensor] = {}
        self._best_epoch = 0
        self._epoch = 0

    def resume(self) -> None:
        if not self._path.is_file():
            return
        checkpoint = Checkpoint.load(self._path)
        parameters = {name: checkpoint.tensors[f"model.{name}"] for name, _ in self._model.named_parameters()}
        self._model.load_state_dict(parameters)
        restore_optimizer(self._optimizer, checkpoint.tensors)
        self._best = {name: checkpoint.tensors[f"best.{name}"] for name in EMBEDDINGS}
        self._history = checkpoint.state["history"]
        self._best_epoch, self._epoch = checkpoint.state["best_epoch"], checkpoint.state["epoch"]
        log.info("training goes on", epoch=self._epoch, best_epoch=self._best_epoch)

    def run(self) -> FittedGNN:
        with bar("train the GNN", total=self._config.epochs) as progress:
            progress.advance(self._epoch)
            while not self._done():
                loss = self._train_epoch()
                self._epoch += 1
                if self._epoch % self._config.evaluate_every == 0 or self._epoch == self._config.epochs:
                    self._look(loss)
                    last, best = self._history[-1]["recall@20"], self._best_recall()
                    progress.note(f"loss {loss:.3f}, validation recall@20 {last:.4f} (best {best:.4f})")
                progress.advance()
        log.info("trained", epochs=self._epoch, best_epoch=self._best_epoch, recall=round(self._best_recall(), 4))
        return _fitted(self._best, self._history, self._best_epoch)

    def _done(self) -> bool:
        if self._epoch >= self._config.epochs:
            return True
        looks_since = sum(1 for entry in self._history if entry["epoch"] > self._best_epoch)
        return looks_since >= self._config.patience

    def _best_recall(self) -> float:
        return _recall_at(self._history, self._best_epoch)

    def _train_epoch(self) -> float:
        """One pass over the users; mean loss of a step."""
        rng = np.random.default_rng([self._seed, self._epoch])
        order = rng.permutation(self._learners)
        n_steps = min(max(math.ceil(len(order) / self._config.batch_users), self._config.min_steps), len(order))
        return float(np.mean([self._step(users, rng) for users in np.array_split(order, n_steps)]))

    def _step(self, users: NDArray[np.int64], rng: np.random.Generator) -> float:
        batch = draw_batch(self._liked, users, max_candidates=self._config.max_candidates, rng=rng)
        hidden = rng.random(self._liked.shape[1]) < self._config.hidden_share
        kept = rng.random(self._model.projection.shape[0]) >= self._config.content_dropout
        gain = kept.astype(np.float32) / (1 - self._config.content_dropout)
        device = self._model.node.device
        users_z, items_z, prior = self._model(torch.from_numpy(hidden).to(device), torch.from_numpy(gain).to(device))
        items = torch.from_numpy(batch.items).to(device)
        cosines = users_z[torch.from_numpy(batch.users).to(device)] @ items_z[items].T
        loss = softmax_loss(
            cosines / self._config.temperature + prior[items],
            torch.from_numpy(batch.user).to(device),
            torch.from_numpy(batch.item).to(device),
            log_inclusion=torch.from_numpy(batch.log_inclusion).to(device),
        )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.item()

    def _look(self, loss: float) -> None:
        """Judge the present parameters, keep them if they are the best so far, and write a checkpoint."""
        embeddings = _embeddings(self._model, self._config.temperature)
        newcomers = self._model.newcomers
        judged = len(self._validator) > 0 and bool(newcomers.any())
        bonuses = NEWCOMER_BONUSES if judged else (0.0,)
        recalls = self._validator.recall(embeddings["users"], embeddings["items"], newcomers, bonuses)
        bonus, recall = choose_bonus(bonuses, recalls)
        embeddings["items"][:, -1] += bonus * newcomers
        embeddings["newcomer_prior"] += bonus
        if not self._history or not recall <= self._best_recall():
            self._best, self._best_epoch = {name: one.cpu() for name, one in embeddings.items()}, self._epoch
        self._history.append({"epoch": self._epoch, "loss": loss, "recall@20": recall, "newcomer_bonus": bonus})
        self._checkpoint().save(self._path)

    def _checkpoint(self) -> Checkpoint:
        tensors: dict[str, torch.Tensor] = {f"model.{name}": value for name, value in self._model.named_parameters()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= optimizer_tensors(self._optimizer)
        state: dict[str, Any] = {"epoch": self._epoch, "best_epoch": self._best_epoch, "history": self._history}
        return Checkpoint(tensors, state)


def _recall_at(history: list[dict[str, float]], epoch: int) -> float:
    """Validation recall@20 when that epoch was looked at; NaN where it was not."""
    return next((entry["recall@20"] for entry in history if entry["epoch"] == epoch), math.nan)


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


def _fitted(embeddings: dict[str, torch.Tensor], history: list[dict[str, float]], best_epoch: int) -> FittedGNN:
    arrays = {name: one.cpu().numpy() for name, one in embeddings.items()}
    cold = ColdTower(
        arrays["projection"], arrays["value_messages"], arrays["item_messages"], float(arrays["newcomer_prior"])
    )
    return FittedGNN(arrays["users"], arrays["items"], history, best_epoch, cold)


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _graph_parts(graph: KnowledgeGraph) -> list[str | NDArray[Any]]:
    """Everything of a graph that training depends on."""
    parts: list[str | NDArray[Any]] = [str(graph.n_nodes)]
    for edge_type, listed in graph.forward.items():
        parts += [spell(edge_type), listed.src, listed.dst, listed.weight]
    return parts
