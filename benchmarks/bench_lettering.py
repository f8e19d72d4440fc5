"""Planted wrong pictures, found by the match model alone and with the lettering in pictures; and how fast it is read.

    python benchmarks/bench_lettering.py ../shared/data/ml100k-posters --cache .recsys/cache --seeds 3

A share of the listings exchange their pictures. Everything is then learned from the shop as it stands, wrong listings
included, and each listing is judged by a model that has not learned it. A wrong listing should score below a right one
(AUROC) and be among as many worst listings as there are wrong ones (precision). The shop's own mistakes, which nobody
marked, count as right here.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import keep, takes_json

from features.deviation import sample_deviation
from features.encoders.catalog import encode_catalog
from features.encoders.embeddings import Embeddings, ItemVectors
from features.lettering.catalog import read_lettering
from features.lettering.config import LetteringConfig
from features.lettering.evidence import judge_lettering
from features.lettering.journal import LetteringJournal
from features.lettering.reader import LetteringReader
from features.match.calibration import auroc
from features.match.config import MatchConfig
from features.match.scores import MatchScores
from features.match.training import fit_match
from features.pictures.sources import UnreadableImage, decode
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from recsys.config import load_config

TIMED = 60
"""Pictures read to tell the speed."""


def exchanged(n_items: int, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whose picture each item shows, int64 [n_items], and which items show another's, bool [n_items]."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(rows)[: max(2, round(share * len(rows)))]
    source = np.arange(n_items)
    source[chosen] = np.roll(chosen, 1)
    return source, source != np.arange(n_items)


def told(scores: MatchScores, wrong: np.ndarray, among: np.ndarray) -> tuple[float, float]:
    """AUROC of right above wrong, and the share of wrong ones among as many worst."""
    score = np.where(scores.known, scores.score, 0.5).astype(np.float64)
    worst = [row for row in scores.worst(len(wrong)).tolist() if among[row]][: int((wrong & among).sum())]
    return auroc(score[~wrong & among], score[wrong & among]), float(wrong[worst].mean())


def speed(shop: Shop, config: LetteringConfig) -> str:
    """Pictures a second of one thread, by processor time, and what share of it is decoding."""
    reader = LetteringReader(config)
    names = [name for name in shop.catalog.image.tolist() if name]
    chosen = [names[at] for at in np.linspace(0, len(names) - 1, TIMED).astype(int).tolist()]
    assert shop.images is not None
    decoding, reading, lines, pictures = 0.0, 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder, LetteringJournal(Path(folder), reader.fingerprint) as journal:
        for number, name in enumerate(chosen):
            start = time.thread_time()
            try:
                picture = decode(shop.images.read(name))
            except (KeyError, UnreadableImage):
                continue
            middle = time.thread_time()
            found = reader.read(picture)
            journal.add(number.to_bytes(32, "big"), found)
            if number:  # the first one opens the networks
                decoding, reading = decoding + middle - start, reading + time.thread_time() - middle
                lines, pictures = lines + len(found), pictures + 1
    each = (decoding + reading) / pictures
    return f"{1 / each:.1f} pictures/s of one core ({1000 * each:.0f} ms each, {lines / pictures:.1f} lines)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".recsys/cache"))
    parser.add_argument("--share", type=float, default=0.05, help="of the listings that show another's picture")
    parser.add_argument("--seeds", type=int, default=3)
    takes_json(parser)
    given = parser.parse_args()
    config, quarantine = load_config(None), Quarantine()
    shop = read_shop(given.shop, quarantine=quarantine)
    vectors = encode_catalog(shop, config.encoders, cache_dir=given.cache, quarantine=quarantine)
    lettering = read_lettering(shop, config.lettering, cache_dir=given.cache, quarantine=quarantine).lines
    rows = np.flatnonzero(vectors.paired)
    lettered = np.array([bool(lines) for lines in lettering])
    print(f"{shop.name}: {len(rows)} listings with words and picture, {(lettered[rows]).mean():.1%} lettered")
    reading = speed(shop, config.lettering)
    print(f"reading: {reading}")
    names = ("match model alone", "lettering alone", "both")
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for seed in range(given.seeds):
        source, wrong = exchanged(len(shop.catalog), rows, given.share, seed)
        image = dataclasses.replace(
            vectors.image, vectors=vectors.image.vectors[source], mask=vectors.image.mask[source]
        )
        assert isinstance(image, Embeddings)
        planted = ItemVectors(vectors.text, image)
        alone = fit_match(planted, MatchConfig(), seed=seed).score(planted)
        evidence = judge_lettering([lettering[row] for row in source.tolist()], shop.catalog, seed=seed)
        nothing = MatchScores.unknown(len(alone))
        prior = config.match.prior
        results = (alone, nothing.beside(evidence.log_odds, prior=prior), alone.beside(evidence.log_odds, prior=prior))
        for name, scores in zip(names, results, strict=True):
            for all_listings in (True, False):
                among = vectors.paired if all_listings else vectors.paired & lettered[source]
                found.setdefault((name, all_listings), []).append(told(scores, wrong, among))
    print(f"{round(given.share * len(rows))} planted wrong pictures, {given.seeds} seeds; mean and standard deviation")
    print(f"{'':<22}{'all listings':>34}{'lettered ones alone':>34}")
    print(f"{'':<22}{'AUROC':>17}{'precision':>17}{'AUROC':>17}{'precision':>17}")
    for name in names:
        cells = []
        for all_listings in (True, False):
            values = np.array(found[name, all_listings])
            deviations = sample_deviation(values)
            cells += [f"{mean:8.4f} ±{by:7.4f}" for mean, by in zip(values.mean(axis=0), deviations, strict=True)]
        print(f"{name:<22}" + "".join(f"{cell:>17}" for cell in cells))
    base = 1 - np.array(found[names[0], True])[:, 0].mean()
    fewer = base / (1 - np.array(found[names[2], True])[:, 0].mean())
    print(f"pairs put in the wrong order: {fewer:.1f} times fewer")
    rows = [
        {"by": name, "lettered_alone": not whole, "auroc": values[:, 0], "precision": values[:, 1]}
        for (name, whole), values in ((of, np.array(each)) for of, each in found.items())
    ]
    keep(given, {"reading": reading, "rows": rows, "wrong_pairs_fewer": fewer})


if __name__ == "__main__":
    main()
