"""Match models kept beside encoded content: equal listings and settings are not learned twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog
import torch

from features.aside import aside
from features.checkpoint import fingerprint
from features.encoders.embeddings import ItemVectors
from features.errors import InputError
from features.match.config import MatchConfig
from features.match.model import MatchModel
from features.match.training import TRAINING, fit_match

log = structlog.get_logger()


def kept_match(vectors: ItemVectors, config: MatchConfig, *, seed: int, cache_dir: Path) -> MatchModel:
    """As `fit_match`; a model that was learned before from the same listings in the same way is read instead.

    Args:
        vectors: the shop's listings.
        config: of towers and training.
        seed: of the training.
        cache_dir: kept under match/<fingerprint of listings, settings, seed, kind of device and version of training>;
            a model that cannot be read is told of in the log, and learned again.
    """
    folder = cache_dir / "match" / _fingerprint(vectors, config, seed)
    if folder.is_dir():
        try:
            match = MatchModel.load(folder)
        except InputError as error:
            log.warning("the kept match model is learned again", why=str(error))
            shutil.rmtree(folder, ignore_errors=True)
        else:
            log.info("match model read", kept=str(folder), pairs=int(match.report["pairs"]))
            return match
    match = fit_match(vectors, config, seed=seed)
    if match.fitted:
        unfinished = aside(folder)
        match.save(unfinished)
        try:
            unfinished.replace(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return match


def _fingerprint(vectors: ItemVectors, config: MatchConfig, seed: int) -> str:
    """Hex; of all that decides what is learned. Listings that lack words or a picture decide nothing."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    learned = (modality.vectors[vectors.paired] for modality in (vectors.text, vectors.image))
    return fingerprint(str(TRAINING), str(seed), device, config.model_dump_json(), *learned)[:32]
