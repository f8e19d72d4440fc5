"""How a network on pixels learns to tell attributes, and how much each attribute believes it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.checkpoint import Checkpoint, fingerprint, optimizer_tensors, part, restore_optimizer
from features.match.fine.config import PixelConfig
from features.match.fine.labels import Label
from features.match.fine.losses import told
from features.match.fine.pixel_heads import PixelHeads, fitting
from features.match.fine.rates import highest_rates, set_rates
from features.match.fine.variants import varied
from features.progress import bar

SHARES = tuple(step / 10 for step in range(11))
"""Weights of others, such as the networks on pixels, that are tried beside the heads on scenes."""

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Taught:
    """What is told of the listings that are learned from.

    Args:
        labels: int64 [n] an attribute; -1 where a listing has no value.
        weights: float32 [values] an attribute, how much each value counts.
    """

    labels: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]


def train_pixel_heads(
    pixels: Tensor,
    taught: Taught,
    config: PixelConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
) -> PixelHeads:
    """Train one network; the moving average of its parameters is kept.

    Args:
        pixels: of the listings that are learned from, uint8 [n, 3, height, width].
        taught: their attributes.
        config: of the network and its training.
        seed: of weights, batches, dropout and what happens to pictures.
        checkpoint: file that is written after every epoch, to go on from; one of other data or settings is replaced.

    Raises:
        InputError: the checkpoint is damaged.
    """
    device = pixels.device
    pixels = fitting(pixels, config)
    arrays = (pixels[..., ::31, ::31], *taught.labels, *taught.weights)
    asked = fingerprint(
        config.model_dump_json(exclude={"members"}), str(seed), *(array.cpu().numpy() for array in arrays)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = _Progress(PixelHeads(tuple(len(weight) for weight in taught.weights), config).to(device))
        if checkpoint is not None and checkpoint.is_file():
            state.restore(checkpoint, asked)
        per_epoch = max(1, len(pixels) // config.batch)
        with bar("learning from pixels", total=config.epochs) as progress:
            progress.advance(state.epoch)
            while state.epoch < config.epochs:
                torch.manual_seed(seed * 1_000_003 + state.epoch)
                seen, total = varied(pixels, config.augment, seed=seed, epoch=state.epoch), 0.0
                state.heads.train()
                for number, rows in enumerate(torch.tensor_split(torch.randperm(len(pixels)), per_epoch)):
                    loss = _loss(state.heads, seen, taught, rows.to(device))
                    state.step(loss, state.epoch * per_epoch + number, config.epochs * per_epoch)
                    total += float(loss.detach()) / per_epoch
                state.epoch += 1
                progress.advance()
                progress.note(f"loss {total:.3f}")
                if checkpoint is not None:
                    state.save(checkpoint, asked)
        log.info("learned from pixels", epochs=config.epochs, seed=seed)
    return state.kept


def shares_of(
    some: list[NDArray[np.float32]],
    others: list[NDArray[np.float32]],
    labels: tuple[Label, ...],
    rows: NDArray[np.int64],
) -> tuple[float, ...]:
    """Of each attribute, the weight of other probabilities beside some at which they are nearest to the labels.

    That is the lowest Brier score. Likelihood would count remembered listings too little: their first choice is good,
    and what they hold for impossible is not always so.

    Args:
        some: probabilities, [n, values] an attribute.
        others: likewise; by the networks on pixels, or by remembered listings.
        labels: the attributes.
        rows: int64 [n]; the listings, none of them learned from.
    """
    shares = []
    for a, b, label in zip(some, others, labels, strict=True):
        at = np.flatnonzero(label.of[rows] >= 0)
        value = label.of[rows][at]
        marked = np.eye(len(label.values))[value]
        off = [((marked - (1 - share) * a[at] - share * b[at]) ** 2).sum() for share in SHARES]
        shares.append(SHARES[int(np.argmin(off))])
    log.info("attributes weighed", **{label.name: share for label, share in zip(labels, shares, strict=True)})
    return tuple(shares)


def _loss(heads: PixelHeads, pixels: Tensor, taught: Taught, rows: Tensor) -> Tensor:
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=rows.device.type == "cuda"):
        logits = heads(pixels[rows])
    each = [
        told(one, label[rows], weight, smoothing=heads.config.smoothing)
        for one, label, weight in zip(logits, taught.labels, taught.weights, strict=True)
    ]
    return torch.stack(each).mean()


class _Progress:
    """Where training stands: the network, the moving average that is kept, and the optimizer."""

    def __init__(self, heads: PixelHeads) -> None:
        self.heads = heads.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept = copy.deepcopy(heads).eval()
        self.optimizer = torch.optim.AdamW(_groups(heads))
        self.highest = highest_rates(self.optimizer)
        self.epoch = 0

    def step(self, loss: Tensor, number: int, steps: int) -> None:
        """Step `number` of `steps`."""
        set_rates(self.optimizer, self.highest, (number + 1) / steps)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        # a plain mean of the steps as long as that forgets faster: how training began does not count
        past = min(self.heads.config.averaging, 1 - 1 / (number + 1))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.kept.parameters()), list(self.heads.parameters()), 1 - past)
            for mine, now in zip(self.kept.buffers(), self.heads.buffers(), strict=True):
                mine.copy_(now)

    def save(self, path: Path, asked: str) -> None:
        """Write a checkpoint; `asked` names the data and the settings."""
        tensors = {f"heads.{name}": tensor for name, tensor in self.heads.state_dict().items()}
        tensors |= {f"kept.{name}": tensor for name, tensor in self.kept.state_dict().items()}
        Checkpoint(tensors | optimizer_tensors(self.optimizer), {"asked": asked, "epoch": self.epoch}).save(path)

    def restore(self, path: Path, asked: str) -> None:
        """Go on from a checkpoint of the same data and settings; another one is left alone."""
        saved = Checkpoint.load(path)
        if saved.state.get("asked") != asked:
            return
        for prefix, module in (("heads.", self.heads), ("kept.", self.kept)):
            module.load_state_dict(part(saved.tensors, prefix))
        restore_optimizer(self.optimizer, saved.tensors)
        self.epoch = int(saved.state["epoch"])
        log.info("training goes on", stage=path.stem, epoch=self.epoch)


def _groups(heads: PixelHeads) -> list[dict[str, object]]:
    """The bundled network moves slower; matrices of what is new decay, biases and scales do not."""
    config = heads.config
    new = [p for name, p in heads.named_parameters() if not name.startswith("network.")]
    return [
        {"params": list(heads.network.parameters()), "lr": config.encoder_learning_rate, "weight_decay": 0.01},
        {"params": [p for p in new if p.ndim > 1], "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": [p for p in new if p.ndim == 1], "lr": config.learning_rate, "weight_decay": 0.0},
    ]
