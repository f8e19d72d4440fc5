"""The training program of the fine match model: one loop, three ways to learn.

The randomness of an epoch follows from the seed and the epoch's number alone, so a run that was cut off goes on to the
same numbers from the checkpoint of its last epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog
import torch
from torch import Tensor

from features.checkpoint import fingerprint
from features.encoders.config import AS_INSTALLED, EncoderConfig
from features.encoders.engine import has_bfloat16
from features.match.fine.config import FineConfig
from features.match.fine.matcher import Matcher, Sizes
from features.match.fine.objective import Material, fusion_loss, tower_losses, weighted
from features.match.fine.progress import Progress, Stage
from features.match.fine.ranking import both_ways
from features.match.fine.rates import highest_rates, set_rates
from features.match.fine.variants import varied
from features.match.fine.views import Views
from features.progress import bar

ASIDE = {"pixels", "kernel", "members", "rerank", "prior"}
"""Settings that change nothing of how one member learns; a run goes on where they were changed."""
SLOW = 0.99
"""Weight of the past in the slower copy, where only a loss needs one."""
FUSION_BATCH = 256
"""Listings whose pairs the fusion looks at in one step."""

log = structlog.get_logger()


def stages(matcher: Matcher) -> list[Stage]:
    """What a way to learn consists of."""
    config = matcher.config
    if config.learning == "sequential":
        return [Stage("towers", config.epochs, True, False), Stage("fusion", config.fusion_epochs, False, True)]
    return [Stage(config.learning, config.epochs, True, matcher.fusion is not None)]


def train(
    material: Material,
    n_words: int,
    config: FineConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    encoders: EncoderConfig = AS_INSTALLED,
) -> Matcher:
    """Train one member; the state with the best validation result of each stage is kept.

    Args:
        material: what is learned from.
        n_words: known words.
        config: of networks and training.
        seed: of weights, batches, dropout and noise.
        checkpoints: folder for one checkpoint a stage; a run that was cut off goes on from there. One of other data or
            another configuration is replaced; what `ASIDE` names may differ.
        encoders: name the networks that are tuned.

    Raises:
        InputError: a checkpoint is damaged.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        n_values = tuple(len(weight) for weight in material.label_weights)
        matcher = Matcher(Sizes.of(material.train, n_words, n_values), config, encoders).to(material.train.words.device)
        matcher.towers.fit_inputs(material.train)
        asked = _asked(material, config, seed)
        for stage in stages(matcher):
            path = None if checkpoints is None else checkpoints / f"{stage.name}.safetensors"
            _run(matcher, stage, material, seed=seed, path=path, asked=asked)
    return matcher.eval()


def _run(matcher: Matcher, stage: Stage, material: Material, *, seed: int, path: Path | None, asked: str) -> None:
    config, n = matcher.config, len(material.train)
    state = Progress(matcher, stage)
    highest = highest_rates(state.optimizer)
    size = config.batch if stage.towers and not stage.fusion else min(config.batch, FUSION_BATCH)
    per_epoch = max(1, round(n / size))
    if path is not None and path.is_file():
        state.restore(path, asked)
    with bar(f"learning, {stage.name}", total=stage.epochs) as progress:
        progress.advance(state.epoch)
        while state.epoch < stage.epochs and state.waited < config.patience:
            torch.manual_seed(seed * 1_000_003 + 1009 * (not stage.towers) + state.epoch)
            matcher.train()
            total, shown = 0.0, material
            if config.augment is not None and matcher.scenes is not None:
                pixels = varied(material.train.pixels, config.augment, seed=seed, epoch=state.epoch)
                shown = replace(material, train=replace(material.train, pixels=pixels))
            for number, rows in enumerate(_batches(material, n, per_epoch)):
                at = (state.epoch * per_epoch + number + 1) / (stage.epochs * per_epoch)
                set_rates(state.optimizer, highest, at)
                loss = _step(matcher, state.slow, stage, rows, shown)
                state.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                state.optimizer.step()
                if state.slow is not None:
                    _follow(state.slow, matcher, config.averaging or SLOW)
                total += float(loss.detach()) / per_epoch
            value = validate(state.judged.eval(), stage, material.valid, seed=seed)
            state.note(total, value)
            progress.advance()
            progress.note(f"loss {total:.3f}, validation {value:.4f}")
            if path is not None:
                state.save(path, asked)
    matcher.put_back(state.best)
    log.info("learned", stage=stage.name, epochs=state.epoch, validation=round(state.best_value, 4))


def _step(matcher: Matcher, slow: Matcher | None, stage: Stage, rows: Tensor, material: Material) -> Tensor:
    with mixed(matcher.config, rows.device):
        with torch.set_grad_enabled(stage.towers):
            views = matcher.see(material.train.at(rows))
        if stage.towers:
            found, text, image = tower_losses(matcher, slow, views, rows, material)
            texts, images = text.unit, image.unit
        else:
            with torch.no_grad():  # in training mode: what the fusion sees is as noisy as it will be of new listings
                found, texts, images = {}, matcher.towers.text(views).unit, matcher.towers.image(views).unit
        if stage.fusion:
            found["match"] = fusion_loss(matcher, views, texts, images)
    return weighted(found, matcher.config)


@torch.no_grad()
def validate(matcher: Matcher, stage: Stage, valid: Views, *, seed: int) -> float:
    """What a stage is judged by: the mean reciprocal rank, both ways, or of the fusion its loss, negative."""
    texts, images = matcher.embed(valid)
    if stage.towers and matcher.config.learning != "joint":
        return both_ways((texts @ images.T).float().cpu().numpy())["mrr"]
    torch.manual_seed(seed)
    parts = torch.split(torch.arange(len(valid), device=texts.device), FUSION_BATCH)
    losses = [
        float(fusion_loss(matcher, matcher.see(valid.at(rows)), texts[rows], images[rows]))
        for rows in parts
        if len(rows) > 1
    ]
    return -sum(losses) / max(len(losses), 1)


@contextmanager
def mixed(config: FineConfig, device: torch.device) -> Iterator[None]:
    """Matrix products in bfloat16 where configured; losses and parameters stay float32."""
    fast = device.type == "cuda" or has_bfloat16()
    on = config.precision == "bfloat16" or (config.precision == "auto" and fast)
    with torch.autocast(device.type, torch.bfloat16, enabled=on):
        yield


def _batches(material: Material, n: int, per_epoch: int) -> tuple[Tensor, ...]:
    device = material.train.words.device
    if material.draw is None:
        return torch.tensor_split(torch.randperm(n, device=device), per_epoch)
    return torch.tensor_split(torch.multinomial(material.draw, n, replacement=True), per_epoch)


@torch.no_grad()
def _follow(slow: Matcher, matcher: Matcher, past: float) -> None:
    fast = dict(matcher.state_dict())
    for name, value in slow.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(fast[name], 1 - past)
        else:
            value.copy_(fast[name])


def _asked(material: Material, config: FineConfig, seed: int) -> str:
    arrays = [material.train.sentence, material.train.words, material.train.scene[:, ::97], material.valid.words]
    return fingerprint(config.model_dump_json(exclude=ASIDE), str(seed), *(array.cpu().numpy() for array in arrays))
