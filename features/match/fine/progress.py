"""Where a stage of training stands, and how it is kept on disk and taken up again."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch
from torch import Tensor, nn

from features.checkpoint import Checkpoint, optimizer_tensors, part, restore_optimizer
from features.match.fine.matcher import NETWORKS, Matcher

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Stage:
    """A stretch of training.

    Args:
        name: of the checkpoint, too.
        epochs: passes over the pairs.
        towers: whether the towers learn.
        fusion: whether the fusion learns.
    """

    name: str
    epochs: int
    towers: bool
    fusion: bool


class Progress:
    """Where a stage of training stands: networks, optimizer, the best state so far, and what was measured."""

    def __init__(self, matcher: Matcher, stage: Stage) -> None:
        config = matcher.config
        self.matcher = matcher
        self.optimizer = torch.optim.AdamW(_groups(matcher, list(_parameters(matcher, stage))), lr=config.learning_rate)
        needs_slow = config.averaging > 0 or config.losses.unlabeled > 0
        self.slow = copy.deepcopy(matcher).eval() if needs_slow else None
        self.best, self.best_value = _state(matcher), -math.inf
        self.waited, self.epoch = 0, 0
        self.history: list[dict[str, float]] = []

    @property
    def judged(self) -> Matcher:
        """What is validated and kept."""
        return self.slow if self.slow is not None and self.matcher.config.averaging else self.matcher

    def note(self, loss: float, value: float) -> None:
        """An epoch is over."""
        self.history.append({"epoch": self.epoch, "loss": loss, "valid": value})
        self.epoch += 1
        self.waited += 1
        if value > self.best_value:
            self.best, self.best_value, self.waited = _state(self.judged), value, 0

    def save(self, path: Path, asked: str) -> None:
        """Write a checkpoint; `asked` names the data and the configuration."""
        tensors = {**_named("matcher", self.matcher.kept()), **_named("best", self.best)}
        tensors |= optimizer_tensors(self.optimizer)
        tensors |= {} if self.slow is None else _named("slow", self.slow.kept())
        counts = {"epoch": self.epoch, "best": self.best_value, "waited": self.waited, "history": self.history}
        Checkpoint(tensors, {"asked": asked, **counts}).save(path)

    def restore(self, path: Path, asked: str) -> None:
        """Go on from a checkpoint of the same data and configuration; another one is left alone."""
        saved = Checkpoint.load(path)
        if saved.state.get("asked") != asked:
            return
        self.matcher.put_back(part(saved.tensors, "matcher."))
        if self.slow is not None:
            self.slow.put_back(part(saved.tensors, "slow."))
        restore_optimizer(self.optimizer, saved.tensors)
        self.best, self.best_value = part(saved.tensors, "best."), saved.state["best"]
        self.waited, self.epoch, self.history = saved.state["waited"], saved.state["epoch"], saved.state["history"]
        log.info("training goes on", stage=path.stem, epoch=self.epoch)


def _parameters(matcher: Matcher, stage: Stage) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in matcher.named_parameters():
        of_fusion = name.startswith("fusion.")
        if parameter.requires_grad and ((stage.fusion and of_fusion) or (stage.towers and not of_fusion)):
            yield name, parameter


def _groups(matcher: Matcher, learned: list[tuple[str, nn.Parameter]]) -> list[dict[str, object]]:
    """Matrices decay; biases, scales and places do not; the words' own vectors move faster, tuned networks slower."""
    config = matcher.config
    word_name = "towers.text.vectors.weight"
    words = [p for name, p in learned if name == word_name]
    tuned = [p for name, p in learned if name.startswith(NETWORKS)]
    own = [(name, p) for name, p in learned if not name.startswith(NETWORKS)]
    matrices = [p for name, p in own if p.ndim == 2 and name != word_name]
    others = [p for _, p in own if p.ndim != 2]
    groups: list[dict[str, object]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": words, "weight_decay": config.weight_decay, "lr": config.word_learning_rate},
        {"params": tuned, "weight_decay": 0.0, "lr": config.encoder_learning_rate},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _state(matcher: Matcher) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in matcher.kept().items()}


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
