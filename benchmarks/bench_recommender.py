"""How long a large catalog's answers take: opening a bundle, exact against approximate search, whole feeds.

    .venv/bin/python benchmarks/bench_recommender.py --items 100000 --json recommender.json

Vectors are drawn around centers, with lengths that fall off as popularity does; reasons are found as in the service.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import keep, takes_json

from features.vectors.rows import unit_rows
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender


def write_shop(
    path: Path, n_items: int, n_users: int, dim: int, seed: int, *, text_dim: int = 0, ranked: bool = False
) -> Path:
    """A bundle of drawn vectors, 20 neighbors an item and 20 seen items a user.

    Args:
        path: where.
        n_items: how many items.
        n_users: how many users.
        dim: of the embeddings.
        seed: of the draws.
        text_dim: of the words' vectors; 0 for items without.
        ranked: whether a learned ranker orders the feeds; its weights are drawn, too.
    """
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((200, dim))
    length = (1 / np.sqrt(1 + np.arange(n_items) / 100) + 0.3)[:, None]
    group = rng.integers(200, size=n_items)
    items = ((centers[group] + 0.7 * rng.standard_normal((n_items, dim))) * length).astype(np.float32)
    users = (centers[rng.integers(200, size=n_users)] + 0.7 * rng.standard_normal((n_users, dim))).astype(np.float32)
    lists = rng.integers(n_items, size=(n_items, 20)), np.full((n_items, 20), 0.5, dtype=np.float32)
    return write_bundle(
        path,
        items=Vocabulary(tuple(f"sku-{row}" for row in range(n_items))),
        users=Vocabulary(tuple(f"user-{row}" for row in range(n_users))),
        item_embeddings=items,
        user_embeddings=users,
        text_vectors=unit_rows(rng.standard_normal((n_items, text_dim)).astype(np.float32)),
        image_vectors=np.zeros((n_items, 0), dtype=np.float32),
        popularity=(n_items / (1 + np.arange(n_items))).astype(np.float32),
        match_scores=np.full(n_items, np.nan, dtype=np.float32),
        display=(
            {
                "item_id": f"sku-{row}",
                "title": f"Product {row}",
                "description": "A plain product.",
                "price": 9.5,
                "available": row % 50 != 0,
                "image": "",
                "attributes": {"category": [f"group {group[row]}"], "brand": [f"brand {row % 500}"]},
            }
            for row in range(n_items)
        ),
        seen=(np.arange(n_users + 1) * 20, rng.integers(n_items, size=n_users * 20)),
        similar_idx=lists[0],
        similar_score=lists[1],
        neighbors={"text": lists},
        co_idx=lists[0],
        co_count=np.full((n_items, 20), 3),
        config={},
        metrics={},
        fingerprints={},
        ranker=drawn_ranker(rng) if ranked else None,
    )


def drawn_ranker(rng: np.random.Generator) -> LinearRanker:
    """A ranker that looks at every feature."""
    n = len(FEATURES)
    mean, scale, weights = rng.uniform(0.1, 1, (3, n)).astype(np.float32)
    return LinearRanker(mean, scale, weights, report={})


def timed(ask: Callable[[int], object], times: int) -> dict[str, float]:
    """Median and 99th percentile in ms of so many calls, after a few unmeasured ones."""
    took = []
    for call in range(-5, times):
        start = time.perf_counter()
        ask(call)
        if call >= 0:
            took.append(1000 * (time.perf_counter() - start))
    return {"p50_ms": round(float(np.median(took)), 3), "p99_ms": round(float(np.quantile(took, 0.99)), 3)}


def measure(n_items: int, n_users: int, dim: int, requests: int, seed: int) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = write_shop(Path(folder) / "bundle", n_items, n_users, dim, seed)
        figures: dict[str, Any] = {"items": n_items, "dim": dim, "write_s": round(time.perf_counter() - start, 1)}
        for name, verify in (("open_verified_s", True), ("open_s", False)):
            start = time.perf_counter()
            recommender = BundleRecommender(Bundle.open(path, verify=verify))
            figures[name] = round(time.perf_counter() - start, 2)
        bundle = recommender.bundle
        figures["bundle_mb"] = round(sum(entry.bytes for entry in bundle.manifest.files.values()) / 1e6)
        report = bundle.manifest.index
        figures["index"] = report
        figures["exact_over_index"] = round(report["exact_ms"] / report["query_ms"], 2) if report else None

        def ids(call: int) -> tuple[str, ...]:
            return tuple(f"sku-{(7919 * (call + 6) * step) % n_items}" for step in range(1, 6))

        figures["feed_known_user"] = timed(
            lambda call: recommender.recommend(UserState(f"user-{call % n_users}", ids(call)), 20), requests
        )
        figures["feed_visitor"] = timed(lambda call: recommender.recommend(UserState(None, ids(call)), 20), requests)
        figures["feed_popular"] = timed(lambda _: recommender.recommend(UserState(), 20), requests)
        figures["similar_items"] = timed(lambda call: recommender.similar_items(ids(call)[0], 20), requests)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    takes_json(parser)
    args = parser.parse_args()
    figures = measure(args.items, args.users, args.dim, args.requests, args.seed)
    for name, value in figures.items():
        print(f"{name:18} {value}")
    keep(args, figures)


if __name__ == "__main__":
    main()
