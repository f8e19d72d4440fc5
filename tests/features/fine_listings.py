"""Planted listings, whose words and picture show the same six hidden facts, and small models that learn of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from features.encoders.local import LocalConfig, Pictures
from features.encoders.token_states import Tokens
from features.match.fine.config import FineConfig, LossWeights
from features.match.fine.fit import material_of
from features.match.fine.labels import Label
from features.match.fine.matcher import Matcher
from features.match.fine.training import train
from features.match.fine.views import Listings, Views
from features.match.fine.words import WordList

N, FACTS, PATCHES, TOKENS = 320, 6, 4, 7
CPU = torch.device("cpu")
SMALL = FineConfig(
    dim=24,
    hidden=48,
    word_dim=24,
    attention_dim=16,
    heads=2,
    members=1,
    epochs=12,
    fusion_epochs=4,
    batch=64,
    candidates=3,
    rerank=10,
    learning_rate=5e-3,
    local=LocalConfig(height=64, width=64),
    precision="float32",
)
ROWS = np.arange(N)
TRAIN, VALID, TEST = ROWS[:200], ROWS[200:240], ROWS[240:]


def planted(*, seed: int = 0) -> Listings:
    """Fact k is the word "fk" or "gk", a direction of the scene, and shows in patch k mod 4."""
    rng = np.random.default_rng(seed)
    facts = rng.integers(0, 2, size=(N, FACTS))
    sign = 2.0 * facts - 1
    texts = [" ".join(f"{'fg'[fact]}{k}" for k, fact in enumerate(row)) for row in facts]
    texts = [f"{text} serial{row}" for row, text in enumerate(texts)]
    scene = sign @ rng.normal(size=(FACTS, 30)) + 0.3 * rng.normal(size=(N, 30))
    patches = 0.2 * rng.normal(size=(N, PATCHES, FACTS))
    tokens = 0.1 * rng.normal(size=(N, TOKENS, 2 * FACTS))
    for k in range(FACTS):
        patches[:, k % PATCHES, k] += sign[:, k]
        tokens[ROWS, k, 2 * k + facts[:, k]] += 1
    sentence = rng.normal(size=(N, 10)) + sign @ rng.normal(size=(FACTS, 10))
    mask = np.arange(TOKENS) < np.full((N, 1), FACTS)
    content = [hashlib.sha1(bytes([row % 256, row // 256]), usedforsecurity=False).hexdigest()[:16] for row in ROWS]
    pictures = Pictures(scene.astype(np.float16), patches.astype(np.float16), np.ones(N, dtype=bool), content)
    words = [[f"t{k}" for k in range(FACTS)]] * N
    read = Tokens((tokens * mask[..., None]).astype(np.float16), mask, words)
    return Listings(texts, sentence.astype(np.float32), pictures, read)


def first_fact(listings: Listings) -> Label:
    return Label("fact", ("f", "g"), np.array([int(text[0] == "g") for text in listings.texts]))


def with_losses(**weights: float) -> FineConfig:
    return SMALL.model_copy(update={"losses": LossWeights(**{"text": 0, "image": 0, **weights})})


def words_of(listings: Listings) -> WordList:
    return WordList.of([listings.texts[row] for row in TRAIN], least=2)


def learned(listings: Listings, config: FineConfig, *, seed: int = 0, checkpoints: Path | None = None) -> Matcher:
    words = words_of(listings)
    material = material_of(listings, (first_fact(listings),), TRAIN, VALID, words, config=config, device=CPU)
    return train(material, len(words), config, seed=seed, checkpoints=checkpoints)


def material_views(listings: Listings) -> Views:
    return material_of(listings, (), TRAIN, VALID, words_of(listings), config=SMALL, device=CPU).valid
