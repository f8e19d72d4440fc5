"""From a shop's listings to a fitted fine match model, calibrated on listings that it has not learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from features.encoders.config import AS_INSTALLED, EncoderConfig
from features.match.calibration import fit_calibrator
from features.match.calibrator import Calibrator
from features.match.fine.config import FineConfig
from features.match.fine.kernel import fit_kernel_heads
from features.match.fine.labels import Label, drawing_weights
from features.match.fine.model import Bank, FineModel
from features.match.fine.objective import Material
from features.match.fine.pairs import JudgedPairs
from features.match.fine.parts import fold_of
from features.match.fine.pixel_training import Taught, shares_of, train_pixel_heads
from features.match.fine.ranking import metrics_at, places, reordered
from features.match.fine.training import train
from features.match.fine.views import Listings, Views
from features.match.fine.words import WordList
from features.progress import track

BANK = 1000
"""Listings that a margin is measured against."""
FOREIGN = 4
"""Foreign pictures tried with each listing's words."""
BLENDS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)

log = structlog.get_logger()


def fit_fine(
    listings: Listings,
    labels: tuple[Label, ...],
    train_rows: NDArray[np.int64],
    valid_rows: NDArray[np.int64],
    config: FineConfig,
    *,
    seed: int,
    judged: JudgedPairs | None = None,
    checkpoints: Path | None = None,
    encoders: EncoderConfig = AS_INSTALLED,
) -> FineModel:
    """Train every member, calibrate, and choose the weights of the fusion, of remembered listings and of networks
    on pixels.

    Args:
        listings: of the shop.
        labels: attributes to be told; only values of `train_rows` are learned.
        train_rows: int64; learned from.
        valid_rows: int64; decide.
        config: of networks and training.
        seed: of everything random.
        judged: labeled pairs of the shop; those of listings outside `train_rows` are not read.
        checkpoints: folder for checkpoints, to go on from.
        encoders: by which the listings were read; what is tuned begins with them.
    """
    rng = np.random.default_rng(seed)
    if len(train_rows) > config.max_pairs:
        train_rows = np.sort(rng.choice(train_rows, config.max_pairs, replace=False))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    words = WordList.of([listings.texts[row] for row in train_rows], least=config.word_count)
    material = material_of(listings, labels, train_rows, valid_rows, words, config=config, device=device, judged=judged)
    members = tuple(
        train(
            material,
            len(words),
            config,
            seed=seed * 101 + number,
            checkpoints=None if checkpoints is None else checkpoints / f"member{number}",
            encoders=encoders,
        )
        for number in track(range(config.members), "training members")
    )
    bank_rows = train_rows[rng.permutation(len(train_rows))[:BANK]]
    empty = np.zeros((0, 1), dtype=np.float32)
    named = tuple((label.name, label.values) for label in labels)
    calibrator, bank = Calibrator(0.0, 0.0), Bank(empty, empty)
    model = FineModel(config, words, members, named, bank, calibrator, 0.0, encoders=encoders)
    model = replace(model, bank=Bank(*model.embed(model.views(listings, bank_rows))))
    valid = material.valid
    texts, images = model.embed(valid)
    own, foreign = own_and_foreign(model, valid, texts, images, rng)
    calibrator = fit_calibrator(own, foreign)
    blend = _blend(model, valid, texts, images) if model.reranks else 0.0
    model = replace(model, calibrator=calibrator, blend=blend)
    if config.kernel.listings and labels:
        n_values = tuple(len(label.values) for label in labels)
        remembered = fit_kernel_heads(material.train, material.labels, n_values, config.kernel, seed=seed)
        by_heads, by_kernels = model.told(valid), replace(model, kernel_heads=remembered).told_by_kernels(valid)
        shares = shares_of(by_heads, by_kernels, labels, valid_rows)
        model = replace(model, kernel_heads=remembered, kernel_shares=shares)
    if not config.pixels.members or not labels:
        return model
    heads = tuple(
        train_pixel_heads(
            material.train.pixels,
            Taught(material.labels, material.label_weights),
            config.pixels,
            seed=seed * 101 + number,
            checkpoint=None if checkpoints is None else checkpoints / f"pixels{number}.safetensors",
        )
        for number in track(range(config.pixels.members), "training networks on pixels")
    )
    by_pixels = replace(model, pixel_heads=heads).told_by_pixels(valid)
    shares = shares_of(model.told(valid), by_pixels, labels, valid_rows)
    return replace(model, pixel_heads=heads, pixel_shares=shares)


def material_of(
    listings: Listings,
    labels: tuple[Label, ...],
    train_rows: NDArray[np.int64],
    valid_rows: NDArray[np.int64],
    words: WordList,
    *,
    config: FineConfig,
    device: torch.device,
    judged: JudgedPairs | None = None,
) -> Material:
    """Everything the training program reads, as tensors."""

    def views(rows: NDArray[np.int64], texts: list[str] | None = None) -> Views:
        return Views.of(listings, words.ids(texts or [listings.texts[row] for row in rows]), rows, device)

    draw = drawing_weights(labels[0] if labels else None, train_rows, config.oversampling)
    has_words = np.array([bool(text.strip()) for text in listings.texts])
    alone = [np.flatnonzero(has_words & ~listings.pictures.mask), np.flatnonzero(~has_words & listings.pictures.mask)]
    unlabeled = [views(rows) if len(rows) and config.losses.unlabeled else None for rows in alone]
    pairs = None
    if judged is not None and config.losses.relevance:
        kept = judged.of(train_rows)
        if len(kept):
            with_words = Views.of(judged.listings(listings, kept), words.ids(kept.texts), np.arange(len(kept)), device)
            pairs = (with_words, torch.from_numpy(kept.relevance).to(device))
    return Material(
        views(train_rows),
        views(valid_rows),
        tuple(torch.from_numpy(label.of[train_rows]).to(device) for label in labels),
        tuple(torch.from_numpy(label.weights(config.class_weights)).to(device) for label in labels),
        None if draw is None else torch.from_numpy(draw).to(device),
        pairs,
        *unlabeled,
    )


def own_and_foreign(
    model: FineModel, views: Views, texts: NDArray[np.float32], images: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evidence of the listings' own pictures [n], and of up to `FOREIGN` * n foreign ones, twins left out."""
    own = model.evidence(views, texts, images)
    twins = views.twins.cpu().numpy()
    rows = np.arange(len(views))
    foreign = []
    for _ in range(FOREIGN):
        other = rng.permutation(len(views))
        found = model.evidence(views, texts, images, other)
        foreign.append(found[(other != rows) & ~twins[rows, other]])
    return own, np.concatenate(foreign)


def search_orders(
    model: FineModel, views: Views, texts: NDArray[np.float32], images: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """By direction: places by the towers, the first `rerank` of each list, their logits by towers and by fusion."""
    likeness = model.scale * model.likeness(views, texts, images)
    k = min(model.config.rerank, len(views))
    rows = np.repeat(np.arange(len(views)), k)
    out = {}
    for name, side in (("text_to_image", likeness), ("image_to_text", likeness.T)):
        order = np.argsort(-side, axis=1, kind="stable")[:, :k]
        flat = order.ravel()
        fused = model.fused(views, rows, flat) if name == "text_to_image" else model.fused(views, flat, rows)
        out[name] = (places(side), order, np.take_along_axis(side, order, axis=1), fused.reshape(order.shape))
    return out


def _blend(model: FineModel, views: Views, texts: NDArray[np.float32], images: NDArray[np.float32]) -> float:
    """The fusion's weight with the highest mean reciprocal rank on validation, both ways; 0 where it does not help."""
    orders = search_orders(model, views, texts, images)
    by_blend = {
        blend: float(
            np.mean(
                [
                    metrics_at(reordered(place, order, logits + blend * fused))["mrr"]
                    for place, order, logits, fused in orders.values()
                ]
            )
        )
        for blend in BLENDS
    }
    best = max(by_blend, key=lambda blend: (by_blend[blend], -blend))
    log.info("fusion weighed", blend=best, mrr=round(by_blend[best], 4), without=round(by_blend[0.0], 4))
    return best


def cross_evidence(
    listings: Listings,
    labels: tuple[Label, ...],
    config: FineConfig,
    *,
    folds: int,
    seed: int,
    encoders: EncoderConfig = AS_INSTALLED,
) -> NDArray[np.float64]:
    """Probability that each listing's words and picture belong together, by a model that has not learned it.

    One model a fold is trained on the other folds; each is calibrated on a part of these. Identical pictures share a
    fold. float64 [n]; NaN where a modality is missing.
    """
    fold = fold_of(listings.pictures.content, folds)
    paired = listings.paired
    out = np.full(len(listings), np.nan)
    for number in range(folds):
        held = np.flatnonzero(paired & (fold == number))
        others = np.flatnonzero(paired & (fold != number))
        valid = np.array([int(listings.pictures.content[row][:4], 16) % 10 == 0 for row in others], dtype=bool)
        model = fit_fine(listings, labels, others[~valid], others[valid], config, seed=seed + number, encoders=encoders)
        views = model.views(listings, held)
        texts, images = model.embed(views)
        out[held] = model.calibrator(model.evidence(views, texts, images), prior=config.prior)
    return out
