"""The one training loop: Adam, a look at validation every few epochs, checkpoints, an early end.

What is trained is a `Learner`: it goes through an epoch by giving one loss a step, and tells what its model has come to
as embeddings. Everything else is done here, alike for all models. Randomness of an epoch follows from the seed and the
epoch's number alone, so that a run that was cut off anywhere ends with the numbers of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import structlog
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from features.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from features.progress import bar
from features.section import Section
from recsys.parallel import team

log = structlog.get_logger()
J = TypeVar("J")
J_contra = TypeVar("J_contra", contravariant=True)
Entry = dict[str, float]
"""One look: epoch, loss, the measure, and what else the learner has to tell."""
RECALL = "recall@20"
"""The measure by which rankings are chosen."""
Watch = Callable[[Entry], None]


class LoopConfig(Section):
    """The loop of every trained model."""

    epochs: PositiveInt = 100
    """Most passes over the training data."""
    learning_rate: PositiveFloat = 0.01
    """Of Adam."""
    weight_decay: NonNegativeFloat = 0.0
    """Pull of all parameters toward zero (decoupled, as in AdamW)."""
    evaluate_every: PositiveInt = 3
    """Epochs between two looks at validation; a checkpoint is written at each."""
    patience: PositiveInt = 5
    """Looks without a better validation value after which training stops."""
    time_budget_s: PositiveFloat | None = None
    """Training ends with a look at validation at the first epoch after so many seconds, and says so. A budget that is
    reached makes the result depend on the machine; none (null) never does."""
    validation_users: PositiveInt = 20_000
    """More users than this are judged by a sample of this size."""
    device: str = "auto"
    """"cpu", "cuda", or "auto" for CUDA where there is one."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a model has come to.

    Args:
        embeddings: "users" [n_users, dim] and "items" [n_items, dim], whose dot products are the scores, and whatever
            else shall be kept of the best epoch; on any device, not shared with the parameters.
        value: of the measure on validation; NaN where nothing is held out.
        remarks: further numbers for the history.
    """

    embeddings: dict[str, torch.Tensor]
    value: float
    remarks: Entry


class Learner(Protocol[J_contra]):
    """What the loop needs of a model and its training data."""

    @property
    def model(self) -> nn.Module:
        """Whose parameters are learned."""

    def epoch(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """The losses of an epoch's steps, one after the other; between two, the parameters are moved."""

    def look(self, judge: J_contra, /) -> Look:
        """What the present parameters are worth, by validation."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The best epoch.

    Args:
        embeddings: of the best look, on the CPU.
        history: one entry a look.
        best_epoch: the epoch the embeddings are from.
        cut_short: whether the time budget ended it.
    """

    embeddings: dict[str, torch.Tensor]
    history: list[Entry]
    best_epoch: int
    cut_short: bool = False

    def told(self) -> dict[str, Any]:
        """What a table should know (JSON-able)."""
        return told(self.history, self.best_epoch, cut_short=self.cut_short)


def train_model(
    learner: Learner[J],
    judge: J,
    config: LoopConfig,
    *,
    seed: int,
    path: Path,
    what: str,
    measure: str = RECALL,
    fused: bool = True,
    watch: Watch | None = None,
) -> Trained:
    """Train, or go on training, and return the embeddings of the epoch with the best validation value.

    Without validation pairs all epochs are run and the last one counts.

    Args:
        learner: what is trained.
        judge: what the learner needs to look at itself: the validation side.
        config: of the loop.
        seed: of every random choice of the epochs.
        path: the checkpoint: where there is one, training goes on from it. It must belong to the same learner.
        what: name of the model, for logs and progress.
        measure: name of what the learner tells of itself; more is better.
        fused: Adam in one pass over memory, several times faster on large embeddings; its last digits differ.
        watch: told of every look; what it raises ends the training.

    Raises:
        InputError: the checkpoint is damaged.
    """
    loop = _Loop(learner, judge, config, seed=seed, path=path, what=what, measure=measure, fused=fused, watch=watch)
    loop.resume()
    with _sums_in_order(learner.model):
        return loop.run()


@contextmanager
def _sums_in_order(model: nn.Module) -> Iterator[None]:
    """Equal numbers under a seed on a CPU: without this, the gradients of a row that a batch holds several times are
    added in whichever order the threads come to them.
    """
    settings: Any = torch.utils.deterministic
    before, filled = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    if all(parameter.device.type == "cpu" for parameter in model.parameters()):
        torch.use_deterministic_algorithms(True)
        settings.fill_uninitialized_memory = False  # a check for mistakes, which costs a pass over all memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = filled


class _Loop(Generic[J]):
    """The loop and its state; everything that changes is in `_checkpoint`."""

    def __init__(
        self,
        learner: Learner[J],
        judge: J,
        config: LoopConfig,
        *,
        seed: int,
        path: Path,
        what: str,
        measure: str,
        fused: bool,
        watch: Watch | None,
    ) -> None:
        self._learner, self._judge, self._config = learner, judge, config
        self._seed, self._path, self._what, self._watch = seed, path, what, watch
        self._measure, self._team = measure, team()
        self._optimizer = torch.optim.AdamW(
            learner.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused or None
        )
        self._history: list[Entry] = []
        self._best: dict[str, torch.Tensor] = {}
        self._best_epoch = 0
        self._epoch = 0
        self._spent_s = 0.0

    def resume(self) -> None:
        if not self._path.is_file():
            return
        checkpoint = Checkpoint.load(self._path)
        model = self._learner.model
        model.load_state_dict({name: checkpoint.tensors[f"model.{name}"] for name, _ in model.named_parameters()})
        restore_optimizer(self._optimizer, checkpoint.tensors)
        self._best = {
            name.removeprefix("best."): value for name, value in checkpoint.tensors.items() if name.startswith("best.")
        }
        self._history = checkpoint.state["history"]
        self._best_epoch, self._epoch = checkpoint.state["best_epoch"], checkpoint.state["epoch"]
        self._spent_s = checkpoint.state["spent_s"]
        log.info("training goes on", model=self._what, epoch=self._epoch, best_epoch=self._best_epoch)

    def run(self) -> Trained:
        with bar(f"train {self._what}", total=self._config.epochs) as progress:
            progress.advance(self._epoch)
            while not self._done():
                started = time.monotonic()
                rng = np.random.default_rng([self._seed, self._epoch])
                loss = float(np.mean([self._step(loss) for loss in self._learner.epoch(rng)]))
                self._epoch += 1
                self._spent_s += self._team.agree(time.monotonic() - started)
                last_epoch = self._epoch == self._config.epochs or self._late()
                if self._epoch % self._config.evaluate_every == 0 or last_epoch:
                    self._look(loss)
                    last, best = self._history[-1][self._measure], self._best_value()
                    progress.note(f"loss {loss:.3f}, validation {self._measure} {last:.4f} (best {best:.4f})")
                progress.advance()
        log.info(
            "trained",
            model=self._what,
            epochs=self._epoch,
            best_epoch=self._best_epoch,
            **{self._measure: round(self._best_value(), 4)},
        )
        if self._late():
            log.warning("training stopped by its time budget", model=self._what, epochs=self._epoch)
        return Trained(self._best, self._history, self._best_epoch, self._late())

    def _late(self) -> bool:
        budget = self._config.time_budget_s
        return budget is not None and self._spent_s > budget

    def _done(self) -> bool:
        if self._epoch >= self._config.epochs or self._late():
            return True
        looks_since = sum(1 for entry in self._history if entry["epoch"] > self._best_epoch)
        return looks_since >= self._config.patience

    def _best_value(self) -> float:
        return value_at(self._history, self._best_epoch, self._measure)

    def _step(self, loss: torch.Tensor) -> float:
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._team.average_gradients(self._learner.model.parameters())
        self._optimizer.step()
        return self._team.mean(loss.item())

    def _look(self, loss: float) -> None:
        """Judge the present parameters, keep them if they are the best so far, and write a checkpoint."""
        look = self._learner.look(self._judge)
        value = self._team.agree(look.value)
        if not self._history or not value <= self._best_value():
            self._best = {name: one.cpu() for name, one in look.embeddings.items()}
            self._best_epoch = self._epoch
        self._history.append({"epoch": self._epoch, "loss": loss, self._measure: value, **look.remarks})
        if self._team.leads:
            self._checkpoint().save(self._path)
        if self._watch is not None:
            self._watch(self._history[-1])

    def _checkpoint(self) -> Checkpoint:
        model = self._learner.model
        tensors: dict[str, torch.Tensor] = {f"model.{name}": value for name, value in model.named_parameters()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= optimizer_tensors(self._optimizer)
        state: dict[str, Any] = {
            "epoch": self._epoch,
            "best_epoch": self._best_epoch,
            "history": self._history,
            "spent_s": self._spent_s,
        }
        return Checkpoint(tensors, state)


def told(history: list[Entry], best_epoch: int, *, cut_short: bool) -> dict[str, Any]:
    """What a table should know of a training (JSON-able)."""
    recall = value_at(history, best_epoch)
    return {
        "best_epoch": best_epoch,
        **({} if math.isnan(recall) else {"valid_recall@20": round(recall, 6)}),
        **({"stopped_by_time_budget": True} if cut_short else {}),
    }


def value_at(history: list[Entry], epoch: int, measure: str = RECALL) -> float:
    """Of the measure on validation when that epoch was looked at; NaN where it was not."""
    return next((entry[measure] for entry in history if entry["epoch"] == epoch), math.nan)


def chosen_device(wanted: str) -> str:
    """The device that "auto" stands for."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
