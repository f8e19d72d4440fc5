"""Train the match model on a shop's own pairs, so that no listing is judged by a model that learned it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.encoders.embeddings import ItemVectors
from features.match.calibration import calibrate_by_fold
from features.match.cca import CrossCovariance
from features.match.config import MatchConfig
from features.match.folds import FoldRule
from features.match.model import Judge, MatchModel
from features.match.threads import threads_for
from features.match.two_tower import TwoTower, contrastive_loss
from features.progress import track

__all__ = ["MatchModel", "fit_match"]

TRAINING = 1
"""Version of all that is done here; raised when the same listings would be learned otherwise, so that kept models
(`features/match/kept.py`) are learned again."""
RIDGES = (1.0, 10.0, 100.0)
SCALES = (2.0, 5.0, 10.0, 20.0, 40.0)
"""Inverse temperatures tried for the linear start."""
BANK = 1000
"""Pairs that a margin is measured against."""
LEAST_LEARNED = 16
"""Pairs that a model must have learned from before it judges others."""
FOREIGN = 4
"""Foreign pictures tried with each text when the margins are calibrated."""

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Pairs:
    """Listings with words and a picture; `same_text` and `same_image` number the identical ones.

    Args:
        text: float32 [n, d_text].
        image: float32 [n, d_image].
        same_text: int64 [n].
        same_image: int64 [n].
    """

    text: Tensor
    image: Tensor
    same_text: Tensor
    same_image: Tensor

    def __len__(self) -> int:
        return len(self.text)

    @classmethod
    def of(cls, text: NDArray[np.float32], image: NDArray[np.float32], device: torch.device) -> Pairs:
        """From vectors, row i of one belonging to row i of the other."""
        tensors = (torch.from_numpy(column).to(device) for column in (text, image, _numbered(text), _numbered(image)))
        return cls(*tensors)

    def at(self, rows: Tensor) -> Pairs:
        """The pairs of some rows."""
        return Pairs(self.text[rows], self.image[rows], self.same_text[rows], self.same_image[rows])


def fit_match(vectors: ItemVectors, config: MatchConfig, *, seed: int) -> MatchModel:
    """Learn how a shop's words and pictures go together.

    One model a fold is trained on the pairs of the other folds, and one on all for `embed_text` and `embed_image`.
    The margins of the held-out pairs against those of held-out texts with foreign pictures give the calibration.

    Args:
        vectors: the shop's listings.
        config: of towers and training.
        seed: of folds, weights, batches and foreign pictures.

    Returns:
        A model; one that scores nothing (all NaN) where fewer than `config.min_pairs` listings have words and a
        picture that differ from the others'.
    """
    start = time.perf_counter()
    rows = np.flatnonzero(vectors.paired)
    rng = np.random.default_rng(seed)
    if len(rows) > config.max_pairs:
        rows = np.sort(rng.choice(rows, config.max_pairs, replace=False))
    text, image = vectors.text.vectors[rows], vectors.image.vectors[rows]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pairs = Pairs.of(text, image, device)
    distinct = min(int(pairs.same_text.max()), int(pairs.same_image.max())) + 1 if len(pairs) else 0
    if distinct < config.min_pairs:
        log.info(
            "match not judged: too few listings with words and a picture of their own",
            pairs=len(rows),
            distinct=distinct,
            need=config.min_pairs,
        )
        return MatchModel.unfitted(vectors.text.dim, vectors.image.dim, config, pairs=len(rows))
    rule = FoldRule.of(text, image, folds=config.folds, seed=seed)
    fold = rule(text, image)
    if np.bincount(fold).max() > len(rows) - LEAST_LEARNED:
        log.info("match not judged: the listings are nearly all the same", pairs=len(rows))
        return MatchModel.unfitted(vectors.text.dim, vectors.image.dim, config, pairs=len(rows))
    with threads_for(len(rows)):
        judges, own, foreign = _cross_fit(pairs, fold, config, seed=seed, rng=rng)
        towers = train_towers(pairs, config, seed=seed + config.folds)
    calibrator, report = calibrate_by_fold(own, foreign, fold)
    report |= {"pairs": float(len(rows)), "seconds": round(time.perf_counter() - start, 1)}
    log.info("match model fitted", **{name: round(value, 4) for name, value in report.items()})
    return MatchModel(config, text.shape[1], image.shape[1], towers, judges, rule, calibrator, report)


def _cross_fit(
    pairs: Pairs, fold: NDArray[np.int64], config: MatchConfig, *, seed: int, rng: np.random.Generator
) -> tuple[tuple[Judge, ...], NDArray[np.float64], NDArray[np.float64]]:
    """A judge a fold, and the margins of the pairs it did not learn: their own [n], and with foreign pictures
    [n, FOREIGN], NaN where text or picture is a twin of the own one.
    """
    judges: list[Judge] = []
    text, image = pairs.text.cpu().numpy(), pairs.image.cpu().numpy()
    same_text, same_image = pairs.same_text.cpu().numpy(), pairs.same_image.cpu().numpy()
    own, foreign = np.zeros(len(pairs)), np.full((len(pairs), FOREIGN), np.nan)
    for number in track(range(config.folds), "learning which pictures and words belong together"):
        learned = pairs.at(torch.from_numpy(np.flatnonzero(fold != number)).to(pairs.text.device))
        judge = _judge(train_towers(learned, config, seed=seed + number), learned, rng)
        held = np.flatnonzero(fold == number)
        own[held] = judge.margin(text[held], image[held])
        for column in range(FOREIGN):
            other = held[rng.permutation(len(held))]
            twin = (same_text[held] == same_text[other]) | (same_image[held] == same_image[other])
            foreign[held, column] = np.where(twin, np.nan, judge.margin(text[held], image[other]))
        judges.append(judge)
    return tuple(judges), own, foreign


def train_towers(pairs: Pairs, config: MatchConfig, *, seed: int) -> TwoTower:
    """Two towers, from the linear start by AdamW on InfoNCE; a tenth of the pairs decides when to stop.

    The best state on that tenth is kept, the linear start included.
    """
    device = pairs.text.device
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        order = torch.randperm(len(pairs)).to(device)
        n_valid = min(max(8, len(pairs) // 10), 1000)
        valid, train = pairs.at(order[:n_valid]), pairs.at(order[n_valid:])
        towers = TwoTower.of(config, pairs.text.shape[1], pairs.image.shape[1]).to(device)
        best_loss = start_linearly(towers, train, valid)
        best, waited = copy.deepcopy(towers.state_dict()), 0
        optimizer = torch.optim.AdamW(
            towers.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        n_batches = max(1, round(len(train) / config.batch))
        for _ in range(config.epochs):
            towers.train()
            for batch in torch.tensor_split(torch.randperm(len(train)).to(device), n_batches):
                optimizer.zero_grad()
                _loss(towers, train.at(batch)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            loss = valid_loss(towers, valid)
            waited += 1
            if loss < best_loss - 1e-4:
                best_loss, waited, best = loss, 0, copy.deepcopy(towers.state_dict())
            if waited >= config.patience:
                break
        towers.load_state_dict(best)
    return towers.eval()


def start_linearly(towers: TwoTower, train: Pairs, valid: Pairs) -> float:
    """Put the canonical directions into the towers' linear paths and silence the others; returns the validation loss.

    Ridge and temperature are those with the lowest validation loss.
    """
    towers.text.standardize_by(train.text)
    towers.image.standardize_by(train.image)
    covariance = CrossCovariance.of(towers.text.standardized(train.text), towers.image.standardized(train.image))
    best_loss, best = float("inf"), copy.deepcopy(towers.state_dict())
    for ridge in RIDGES:
        directions = covariance.directions(towers.text.direct.out_features, ridge=ridge)
        for tower, direction in zip((towers.text, towers.image), directions, strict=True):
            tower.start_from(direction)
        for scale in SCALES:
            towers.log_scale.data.fill_(float(np.log(scale)))
            loss = valid_loss(towers, valid)
            if loss < best_loss:
                best_loss, best = loss, copy.deepcopy(towers.state_dict())
    towers.load_state_dict(best)
    return best_loss


@torch.no_grad()
def valid_loss(towers: TwoTower, pairs: Pairs) -> float:
    """InfoNCE over all pairs at once, without dropout and noise."""
    return float(_loss(towers.eval(), pairs))


def _loss(towers: TwoTower, pairs: Pairs) -> Tensor:
    return contrastive_loss(
        towers.text(pairs.text), towers.image(pairs.image), towers.logit_scale, pairs.same_text, pairs.same_image
    )


def _judge(towers: TwoTower, learned: Pairs, rng: np.random.Generator) -> Judge:
    rows = torch.from_numpy(rng.permutation(len(learned))[:BANK]).to(learned.text.device)
    with torch.no_grad():
        return Judge(towers, towers.text(learned.text[rows]), towers.image(learned.image[rows]))


def _numbered(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), len(seen)) for row in vectors], dtype=np.int64)
