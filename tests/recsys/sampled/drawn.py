"""Planted tastes for models that are trained on drawn neighborhoods, and quick settings of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.bench.indexed import bare_catalog
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.scorer import Scorer

N_USERS, N_ITEMS = 60, 40


def events(liked: np.ndarray) -> Interactions:
    """In random order of time, one event a second."""
    user, item = np.nonzero(liked)
    users, items = (
        Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in zip("ui", liked.shape, strict=True)
    )
    time = np.random.default_rng(7).permutation(len(user)).astype(np.float64)
    kinds = np.full(len(user), "like", dtype=object)
    return Interactions(users, items, user, item, kinds, np.ones(len(user), dtype=np.float32), time)


PAIR = {"dim": 16, "start": 0.1, "epochs": 12, "evaluate_every": 4, "batch_pairs": 128, "layers": 2}
FANOUTS: dict[str, dict[str, Any]] = {
    "bpr": PAIR | {"learning_rate": 0.03, "sampling.fanouts": (5, 3)},
    "softmax": PAIR | {"loss": "softmax", "learning_rate": 0.03, "sampling.fanouts": (5, 3), "sampling.others": 10},
    "past": PAIR | {"learning_rate": 0.03, "sampling.fanouts": (5, 3), "sampling.past": True},
    "gnn": {"model.dim": 16, "train.epochs": 12, "train.sampling.fanouts": (5, 3), "train.sampling.others": 10},
}
FANOUTS["gnn, past"] = FANOUTS["gnn"] | {"train.sampling.past": True}


def fit(name: str, split: Split, folder: Path, **extra: object) -> Scorer:
    model = MODELS["gnn" if "gnn" in name else "lightgcn"]
    known = Knowledge.of_ids(bare_catalog(split.train.items))
    return model.fit(split, known, changed(model.config, {**FANOUTS[name], **extra}), Job(0, folder))
