"""How many nearest neighbors survive a reduction to few dimensions: PCA, whitened PCA, and the learned map.

    python benchmarks/bench_reduction.py SHOP --cache .recsys/cache

Asked are 500 rows; a neighbor is one of the 10 rows of largest cosine before and after.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from figures import keep, takes_json

from features.encoders.catalog import encode_catalog
from features.encoders.config import EncoderConfig
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from features.vectors.learned import learn_reduction, neighbor_recall
from features.vectors.reduction import pca, whitening


def main() -> None:
    """Print a table a modality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".recsys/cache"))
    parser.add_argument("--dims", type=int, nargs="+", default=[32, 64, 128, 256])
    takes_json(parser)
    asked = parser.parse_args()
    shop = read_shop(asked.shop, quarantine=Quarantine())
    vectors = encode_catalog(shop, EncoderConfig(), cache_dir=asked.cache, quarantine=Quarantine())
    rows_told = []
    for name, modality in (("text", vectors.text), ("image", vectors.image)):
        present = np.unique(modality.vectors[modality.mask], axis=0)
        rows = np.random.default_rng(0).choice(len(present), min(500, len(present)), replace=False)
        print(f"{name}: {len(present):,} different vectors of {modality.dim}")
        print(
            f"{'dim':>4} {'variance':>9} {'pca':>7} {'centered':>9} {'whitened':>9} {'learned':>8} {'kept':>8} {'s':>6}"
        )
        for dim in asked.dims:
            start = time.perf_counter()
            learned = learn_reduction(present, dim, seed=0).reduction
            seconds = time.perf_counter() - start
            centered = pca(present, dim=dim)
            maps = [pca(present, dim=dim, center=False), centered, whitening(present, dim=dim), learned]
            recall = [neighbor_recall(present, one(present), k=10, rows=rows) for one in maps]
            print(
                f"{dim:>4} {centered.explained[-1]:>9.1%} {recall[0]:>7.3f} {recall[1]:>9.3f} {recall[2]:>9.3f} "
                f"{recall[3]:>8.3f} {learned.kind:>8} {seconds:>6.0f}"
            )
            kept = dict(zip(("pca", "centered", "whitened", "learned"), recall, strict=True))
            rows_told.append(
                {"of": name, "dim": dim, "variance": centered.explained[-1], "kept": kept, "seconds": seconds}
            )
    keep(asked, {"rows": rows_told})


if __name__ == "__main__":
    main()
