"""What tells a color from the picture alone, by cross-validation on the listings that are no test.

    .venv/bin/python benchmarks/bench_color.py ../shared/data/fashion
    .venv/bin/python benchmarks/bench_color.py ../shared/data/fashion --curve     # how many listings would be needed
    .venv/bin/python benchmarks/bench_color.py ../shared/data/fashion --test      # at last, on the test, over seeds

Folds are the residues of the hash that are not the test's, so equal pictures share one. Rivals are the commonest
value and a linear head on the pictures' colors; then the kernel of `features.match.fine.kernel`, by what it compares.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import keep, takes_json
from numpy.typing import NDArray

from features.attribute_sources import LinearHead, best_ridge
from features.encoders.colors import read_colors
from features.encoders.local import LocalConfig, read_pictures
from features.encoders.shades import WHOLE_DIM, read_shades
from features.match.fine.config import KernelConfig
from features.match.fine.kernel import fit_kernel_heads
from features.match.fine.labels import Label, labels_of
from features.match.fine.views import Listings, Views
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.run_folder import CACHE

KINDS = ("commonest", "linear", "scene", "scene, middle", "scene, middle, parts")
CURVE = (0.125, 0.25, 0.5, 1.0)


def main() -> None:
    """Print a line of JSON a figure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("shop", type=Path)
    options.add_argument("--attribute", default="color")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--curve", action="store_true", help="the last kind, by the share of listings learned from")
    options.add_argument("--test", action="store_true", help="the last kind on the test; not to choose by")
    options.add_argument("--seeds", type=int, default=3, help="of the test")
    options.add_argument("--cache", type=Path, default=CACHE)
    takes_json(options)
    given = options.parse_args()
    shop = read_shop(given.shop, quarantine=Quarantine())
    names, told = [str(name) for name in shop.catalog.image], Quarantine()
    pictures = read_pictures(names, shop.images, LocalConfig(), patches=False, cache_dir=given.cache, quarantine=told)
    shades = read_shades(names, shop.images, cache_dir=given.cache, quarantine=Quarantine())
    colors = read_colors(names, shop.images, cache_dir=given.cache, quarantine=Quarantine()).astype(np.float32)
    n = len(names)
    listings = Listings([""] * n, np.zeros((n, 1), np.float32), replace(pictures, shades=shades), None)
    label = {label.name: label for label in labels_of(shop.catalog.attributes, n)}[given.attribute]
    part = np.array([int(digits[:8], 16) % 6 if digits else -1 for digits in pictures.content])
    usable = (part >= 0) & (label.of >= 0)
    rest = np.flatnonzero(usable & (part > 0))
    if given.test:
        held = np.flatnonzero(usable & (part == 0))
        right = [
            judged(KINDS[-1], listings, colors, label, learned=rest, held=held, seed=seed).mean()
            for seed in range(given.seeds)
        ]
        spread = np.std(right, ddof=1) if len(right) > 1 else np.nan
        row = show(KINDS[-1], "test", learned=len(rest), listings=len(held), accuracy=right, spread=spread)
        keep(given, {"rows": [row]})
        return
    rows = []
    for kind in KINDS[-1:] if given.curve else given.kinds:
        for share in CURVE if given.curve else (1.0,):
            found = []
            for number in range(1, 6):
                others = rest[part[rest] != number]
                few = np.random.default_rng(number).permutation(others)[: round(share * len(others))]
                held = rest[part[rest] == number]
                found.append(judged(kind, listings, colors, label, learned=np.sort(few), held=held, seed=0))
            each = np.concatenate(found)
            error = np.sqrt(each.mean() * (1 - each.mean()) / len(each))
            by_fold, learned = [one.mean() for one in found], round(share * len(rest) * 0.8)
            rows.append(show(kind, "5 folds", learned=learned, listings=len(each), accuracy=by_fold, error=error))
    for row in rows:
        row["over_first"] = row["accuracy"] / rows[0]["accuracy"]
    keep(given, {"rows": rows})


def judged(
    kind: str,
    listings: Listings,
    colors: NDArray[np.float32],
    label: Label,
    *,
    learned: NDArray[np.int64],
    held: NDArray[np.int64],
    seed: int,
) -> NDArray[np.bool_]:
    """Which of the held listings are told right."""
    truth = label.of[held]
    if kind == "commonest":
        return np.asarray(truth == np.bincount(label.of[learned]).argmax())
    if kind == "linear":
        marked = np.eye(len(label.values))[label.of]
        ridge = best_ridge(colors[learned], marked[learned], seed=seed)
        head = LinearHead(colors[learned], marked[learned], ridge=ridge)
        return np.asarray(head(colors[held]).argmax(axis=1) == truth)
    views = [
        Views.of(listings, np.zeros((len(rows), 1), np.int64), rows, torch.device("cpu")) for rows in (learned, held)
    ]
    groups = kind.count(",")
    for number, view in enumerate(views):
        shades = view.shades[:, : (0, WHOLE_DIM, view.shades.shape[1])[groups]]
        views[number] = replace(view, shades=shades)
    of = torch.from_numpy(label.of[learned])
    heads = fit_kernel_heads(views[0], (of,), (len(label.values),), KernelConfig(), seed=seed)
    return np.asarray(heads.told(views[1])[0].argmax(dim=1).numpy() == truth)


def show(kind: str, on: str, *, accuracy: list[float], **figures: float) -> dict[str, Any]:
    """Print one line, and give it back."""
    shown = {name: round(float(value), 4) for name, value in figures.items()}
    line = {"kind": kind, "on": on, "accuracy": round(float(np.mean(accuracy)), 4)} | shown
    line |= {"each": np.round(accuracy, 4).tolist()}
    print(json.dumps(line), flush=True)
    return line


if __name__ == "__main__":
    main()
