"""Which values a match model confuses when it tells an attribute from pictures alone, and how much neighbor names cost.

    .venv/bin/recsys match fit ../shared/data/fashion --out DIR
    .venv/bin/python benchmarks/bench_attribute_errors.py ../shared/data/fashion --model DIR --attribute color \
        --family "Navy Blue" Blue Black --family "Off White" White Cream

Judged are the listings that the model held back for its test. Told are the accuracy, how often the true value is among
the first two and three, the values that are taken for each other most, and for each family (names of neighbors, as the
one who asks sees them) the share of all errors within it, and the accuracy if its names counted as one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from figures import keep, takes_json
from numpy.typing import NDArray

from features.match.fine.parts import split_listings
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.match_fit import labels_among, listings_of, read_match_model
from recsys.run_folder import CACHE

MOST = 15
"""Confusions shown."""


def main() -> None:
    """Print the figures as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("shop", type=Path)
    options.add_argument("--model", type=Path, required=True, help="folder of a fitted model")
    options.add_argument("--attribute", default="color")
    options.add_argument("--family", nargs="+", action="append", default=[], help="values whose names are neighbors")
    options.add_argument("--cache", type=Path, default=CACHE)
    takes_json(options)
    given = options.parse_args()
    model, config = read_match_model(given.model)
    shop = read_shop(given.shop, quarantine=Quarantine())
    listings = listings_of(shop, config, cache_dir=given.cache, quarantine=Quarantine())
    rows = split_listings(listings.pictures.content, listings.paired, config.parts).test
    names = [name for name, _ in model.labels]
    if given.attribute not in names:
        options.error(f"--attribute must be one that the model tells, {', '.join(names)}, got {given.attribute!r}")
    place = names.index(given.attribute)
    values = np.array(model.labels[place][1], dtype=object)
    true = {label.name: label for label in labels_among(shop, np.arange(len(shop.catalog)))}[given.attribute]
    rows = rows[true.of[rows] >= 0]
    probability = model.told(model.views(listings, rows))[place]
    named = np.array(true.values, dtype=object)[true.of[rows]]
    told = errors(probability, values, named, given.family)
    print(json.dumps(told, indent=1, ensure_ascii=False))
    keep(given, told)


def errors(
    probability: NDArray[np.float32], values: NDArray[np.object_], named: NDArray[np.object_], families: list[list[str]]
) -> dict[str, Any]:
    """How a model errs.

    Args:
        probability: of each value, [n, values].
        values: their names.
        named: the true value of each listing, [n]; one that the model has never seen is told wrong.
        families: names that are neighbors.
    """
    order = np.argsort(-probability, axis=1, kind="stable")
    first = values[order[:, 0]]
    wrong = first != named
    pairs = [sorted(pair) for pair in zip(named[wrong].tolist(), first[wrong].tolist(), strict=True)]
    mixed = Counter(" / ".join(pair) for pair in pairs)
    of_family = {name: number for number, family in enumerate(families) for name in family}

    def within(number: int | None) -> NDArray[np.bool_]:
        same = [
            of_family.get(a, -1) == of_family.get(b, -2) and number in (None, of_family.get(a))
            for a, b in zip(named.tolist(), first.tolist(), strict=True)
        ]
        return wrong & np.array(same, dtype=bool)

    told: dict[str, Any] = {
        "listings": len(named),
        "values": len(values),
        "accuracy": round(float((~wrong).mean()), 4),
        "among the first two": round(float((values[order[:, :2]] == named[:, None]).any(axis=1).mean()), 4),
        "among the first three": round(float((values[order[:, :3]] == named[:, None]).any(axis=1).mean()), 4),
        "errors": int(wrong.sum()),
        "confused": dict(mixed.most_common(MOST)),
    }
    for number, family in enumerate(families):
        inside = int(within(number).sum())
        told[" = ".join(family)] = {
            "share of errors": round(inside / max(int(wrong.sum()), 1), 3),
            "accuracy if one": round(float((~wrong).mean()) + inside / len(named), 4),
        }
    if len(families) > 1:
        inside = int(within(None).sum())
        told["all families"] = {
            "share of errors": round(inside / max(int(wrong.sum()), 1), 3),
            "accuracy if one each": round(float((~wrong).mean()) + inside / len(named), 4),
        }
    return told


if __name__ == "__main__":
    main()
