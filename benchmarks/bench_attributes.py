"""Predict an attribute of held-out items: from their pictures alone, from both, and without any label.

    python benchmarks/bench_attributes.py SHOP --attributes category:2 color --cache .recsys/cache

Held out is every item whose picture's SHA-1, its first 8 hex digits as a number, is a multiple of 6; no model sees
these items, neither their words nor their labels. All settings are chosen on the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
from figures import keep, takes_json

from features.attribute_labels import Labels
from features.attribute_prediction import AttributeConfig, predict_attribute, predict_from_words
from features.attribute_sources import named
from features.encoders.catalog import encode_catalog
from features.encoders.embeddings import Embeddings, ItemVectors
from features.match.training import fit_match
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from recsys.attributes import colors_of, labels_of, shades_of, text_sources, visible
from recsys.config import FitConfig
from recsys.run_folder import CACHE

HOWS = ["labels", "values"]


def main() -> None:
    """Print a line a way of prediction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--attributes", nargs="+", required=True)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--use", nargs="+", default=["image", "both"])
    parser.add_argument("--without-colors", action="store_true", help="for comparison: no head on the pictures' colors")
    parser.add_argument("--without-shades", action="store_true", help="likewise: no comparison by the pictures' shades")
    parser.add_argument("--hows", nargs="+", choices=HOWS, default=HOWS, help="what teaches: labels, or values' names")
    takes_json(parser)
    asked = parser.parse_args()
    config = FitConfig()
    shop = read_shop(asked.shop, quarantine=Quarantine())
    vectors = encode_catalog(shop, config.encoders, cache_dir=asked.cache, quarantine=Quarantine())
    test = held_out(shop)
    taught = ItemVectors(only(vectors.text, ~test), only(vectors.image, ~test))
    match = fit_match(taught, config.match, seed=config.seed)
    seen = None if shop.images is None else colors_of(shop, cache_dir=asked.cache)
    shaded = None if shop.images is None else shades_of(shop, cache_dir=asked.cache)
    results = []
    for spec in asked.attributes:
        known = labels_of(shop, spec, (), AttributeConfig())
        for use in asked.use:
            fused = visible(vectors, use)
            colors = None if asked.without_colors or use == "text" else seen
            shades = None if asked.without_shades or use == "text" else shaded
            texts = text_sources(shop, known, vectors, match, use=use, config=config)
            names = named(shop.catalog.texts(), known.values)
            if use == "image":
                names[test] = False  # their words are hidden
            for how in asked.hows:
                start = time.perf_counter()
                shown = ~test if how == "labels" else np.zeros(len(test), dtype=bool)
                labels = Labels(known.name, known.values, known.share * shown[:, None], known.known & shown)
                if how == "labels":
                    found = predict_attribute(
                        labels, fused, texts, AttributeConfig(), colors=colors, shades=shades, seed=config.seed
                    )
                else:
                    unread = {source: scores for source, scores in texts.items() if source != "words"}
                    found = predict_from_words(
                        labels,
                        names,
                        fused,
                        unread,
                        AttributeConfig(),
                        colors=colors,
                        shades=shades,
                        read=use != "image",
                        seed=config.seed,
                    )
                rows = np.flatnonzero(test & known.known & (found.value >= 0))
                right = known.share[rows, found.value[rows]] > 0
                sure = found.confidence[rows] >= AttributeConfig().threshold
                result = {
                    "attribute": spec,
                    "use": use,
                    "how": how,
                    "test": len(rows),
                    "accuracy": round(float(right.mean()), 4),
                    "coverage": round(float(sure.mean()), 4),
                    "filled_accuracy": round(float(right[sure].mean()), 4) if sure.any() else None,
                    "validation": found.report,
                    "seconds": round(time.perf_counter() - start, 1),
                }
                print(json.dumps(result), flush=True)
                results.append(result)
    keep(asked, {"results": results})


def only(modality: Embeddings, keep: np.ndarray) -> Embeddings:
    """The modality of some items; the others have none."""
    return Embeddings(modality.vectors * keep[:, None], modality.mask & keep, modality.encoder)


def held_out(shop: Shop) -> np.ndarray:
    """Mask of the test items, bool [n_items]."""
    assert shop.images is not None
    digests = [
        hashlib.sha1(shop.images.read(name), usedforsecurity=False).hexdigest() if name else "1"
        for name in shop.catalog.image.tolist()
    ]
    return np.array([int(digest[:8], 16) % 6 == 0 for digest in digests])


if __name__ == "__main__":
    main()
