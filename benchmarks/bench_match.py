"""Matching words and pictures on `fashion`: a plain two-tower, the fast path, and the fine model, in one run.

    python benchmarks/bench_match.py ../shared/data/fashion --cache .recsys/cache

The plain two-tower is two perceptrons with one hidden layer on the frozen vectors, 15 epochs of InfoNCE. All are
learned from the same listings and judged on the same held-out ones, each among all of them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import keep, takes_json
from torch import nn
from torch.nn import functional

from features.encoders.catalog import encode_catalog
from features.match.calibration import auroc
from features.match.config import MatchConfig
from features.match.fine.evaluation import evaluate
from features.match.fine.fit import fit_fine
from features.match.fine.losses import info_nce
from features.match.fine.parts import split_listings
from features.match.fine.ranking import metrics_at, places
from features.match.training import Pairs, train_towers
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.match_config import load_match_config
from recsys.match_fit import labels_among, listings_of

HEAD = f"{'model':<34}{'R@1':>7}{'R@10':>7}{'MRR':>7}{'':>3}{'R@1':>7}{'R@10':>7}{'MRR':>7}{'AUROC':>9}{'s':>7}"


def row(name: str, likeness: np.ndarray, seconds: float) -> dict[str, Any]:
    """Words to picture, picture to words, AUROC of cosines, seconds of training: printed, and as figures."""
    area = area_of(likeness)
    sides = {"text_to_image": metrics_at(places(likeness)), "image_to_text": metrics_at(places(likeness.T))}
    cells = ["".join(f"{found[key]:7.3f}" for key in ("recall@1", "recall@10", "mrr")) for found in sides.values()]
    print(f"{name:<34}{cells[0]}   {cells[1]}{area:9.4f}{seconds:7.0f}", flush=True)
    return {"model": name, **sides, "auroc": area, "seconds": seconds}


def plain_two_tower(train: Pairs, test: Pairs, *, seed: int, epochs: int = 15, batch: int = 256) -> np.ndarray:
    """Cosines of the test pairs by two perceptrons, [n, n]."""
    torch.manual_seed(seed)
    towers = [nn.Sequential(nn.Linear(d, 512), nn.GELU(), nn.Linear(512, 256)) for d in (384, 1280)]
    scale = nn.Parameter(torch.tensor(2.66))
    optimizer = torch.optim.AdamW([*towers[0].parameters(), *towers[1].parameters(), scale], lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(batch):
            some = train.at(rows)
            text, image = (
                functional.normalize(t(x), dim=1) for t, x in zip(towers, (some.text, some.image), strict=True)
            )
            twins = (some.same_text[:, None] == some.same_text) | (some.same_image[:, None] == some.same_image)
            loss = info_nce(text, image, scale.exp(), twins.fill_diagonal_(False))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        text, image = (functional.normalize(t(x), dim=1) for t, x in zip(towers, (test.text, test.image), strict=True))
        return (text @ image.T).numpy()


def area_of(likeness: np.ndarray) -> float:
    """Own cosines against all foreign ones."""
    own = np.eye(len(likeness), dtype=bool)
    return auroc(likeness[own].astype(np.float64), likeness[~own].astype(np.float64))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".recsys/cache"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    takes_json(parser)
    given = parser.parse_args()
    config = load_match_config(None, given.settings)
    quarantine = Quarantine()
    shop = read_shop(given.shop, quarantine=quarantine)
    vectors = encode_catalog(shop, config.encoders, cache_dir=given.cache, quarantine=quarantine)
    listings = listings_of(shop, config, cache_dir=given.cache, quarantine=quarantine)
    parts = split_listings(listings.pictures.content, listings.paired, config.parts)
    both = np.concatenate([parts.train, parts.valid])
    cpu = torch.device("cpu")
    learned, test = (Pairs.of(vectors.text.vectors[r], vectors.image.vectors[r], cpu) for r in (both, parts.test))
    print(f"{shop.name}: {len(both)} to learn from, {len(parts.test)} held out; {config.parts}")
    print(f"{'':<34}{'words to picture':>21}   {'picture to words':>21}")
    print(HEAD)
    start = time.perf_counter()
    likeness = plain_two_tower(learned, test, seed=given.seed)
    rows = [row("plain two-tower, frozen vectors", likeness, time.perf_counter() - start)]
    start = time.perf_counter()
    towers = train_towers(learned, MatchConfig(), seed=given.seed)
    with torch.inference_mode():
        likeness = (towers.text(test.text) @ towers.image(test.image).T).numpy()
    rows.append(row("fast path, frozen vectors", likeness, time.perf_counter() - start))
    start = time.perf_counter()
    labels = labels_among(shop, parts.train)
    model = fit_fine(listings, labels, parts.train, parts.valid, config.model, seed=given.seed)
    seconds = time.perf_counter() - start
    judged = evaluate(model, listings, parts.test, labels_among(shop, np.arange(len(listings))), seed=given.seed)
    name = f"fine, {config.model.learning}, {config.model.architecture}"
    rows.append(row(name, judged.likeness, seconds))
    if model.reranks:
        for direction in ("text_to_image", "image_to_text"):
            found = judged.metrics[direction]
            told = ", ".join(f"{key} {found[key]:.3f}" for key in ("recall@1", "recall@10", "mrr"))
            print(f"  {direction} ordered again down to {model.config.rerank} (blend {model.blend:g}): {told}")
    told = ", ".join(f"{key} {value:.3f}" for key, value in judged.metrics["accuracy"].items())
    print(f"  mismatch AUROC by margins {judged.metrics['mismatch_auroc']:.4f}; from pictures alone: {told}")
    keep(given, {"rows": rows, "fine": judged.metrics})


if __name__ == "__main__":
    main()
