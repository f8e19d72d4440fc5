"""Whether a learned ranker earns its place: the order by taste and prior, our linear ranker, and LambdaMART (LightGBM).

    .venv/bin/recsys fit SHOP --out RUN
    .venv/bin/python benchmarks/bench_ranker.py SHOP RUN/bundle --seeds 3

All three order the same candidates. Half of the users with validation pairs train the rankers (LambdaMART stops early
on a fifth of them), the other half decide; test pairs are told as well. Beside the means over the seeds (which users
are on which side) stands the spread between them. LightGBM is a tool of this benchmark alone: pip install lightgbm.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from figures import keep, takes_json

from features.deviation import sample_deviation
from features.pictures.fetched import FetchedImages
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys import metrics
from recsys.bundle import Bundle
from recsys.config import FitConfig, load_config
from recsys.prepare import prepare
from recsys.ranking.linear import LinearRanker, fit_linear
from recsys.ranking.lists import Lists, histories_of, hits_of, lists_of, moments_of, pairs_of, training_catalog

MART = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [20],
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "lambda_l2": 5.0,
    "feature_fraction": 0.8,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
}


def dataset(lists: Lists, places: list[int], reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    """Users' candidates as LightGBM takes them."""
    kept = [place for place in places if lists.liked[place].any()]
    return lightgbm.Dataset(
        np.concatenate([lists.features[place] for place in kept]),
        np.concatenate([lists.liked[place].astype(np.int32) for place in kept]),
        group=[len(lists.features[place]) for place in kept],
        reference=reference,
    )


def mart(lists: Lists, seed: int) -> lightgbm.Booster:
    """Boosted trees, stopped early on a fifth of the users."""
    places = np.random.default_rng(seed).permutation(len(lists.features)).tolist()
    cut = len(places) // 5
    trained = dataset(lists, places[cut:])
    stopping = lightgbm.early_stopping(30, verbose=False)
    return lightgbm.train(
        {**MART, "seed": seed}, trained, 400, valid_sets=[dataset(lists, places[:cut], trained)], callbacks=[stopping]
    )


def told(lists: Lists, scores: list[np.ndarray]) -> dict[str, float]:
    """Recall and ndcg @20."""
    hits = np.stack([hits_of(score, liked) for score, liked in zip(scores, lists.liked, strict=True)])
    return {
        "recall@20": float(metrics.recall(hits, lists.n_held, 20).mean()),
        "ndcg@20": float(metrics.ndcg(hits, lists.n_held, 20).mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--split", type=Path, help="as the bundle was fitted with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--users", type=int, default=1_000, help="on each side, at most")
    parser.add_argument("--cache", type=Path, default=Path(".recsys/cache"))
    takes_json(parser)
    args = parser.parse_args()
    config: FitConfig = load_config(None)
    quarantine = Quarantine()
    shop = read_shop(args.shop, quarantine=quarantine, fetched=FetchedImages.of_cache(args.cache))
    prepared = prepare(shop, split_file=args.split, config=config, cache_dir=args.cache, quarantine=quarantine)
    bundle = Bundle.open(args.bundle)
    users = np.asarray(bundle.user_embeddings)
    catalog = training_catalog(prepared, np.asarray(bundle.item_vectors))
    histories = histories_of(prepared.split.train)
    valid, test = pairs_of(prepared.split.valid), pairs_of(prepared.split.test)
    tested = sorted(test)[:: max(1, len(test) // args.users)][: args.users]
    moments = moments_of(prepared.split.valid, prepared.split.test)
    on_test = lists_of(catalog, users, histories, tested, test, but=valid, moments=moments_of(prepared.split.test))
    figures: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        order = np.random.default_rng(seed).permutation(sorted(valid))
        half = min(len(order) // 2, args.users)
        own, others = (
            lists_of(catalog, users, histories, some.tolist(), valid, but={}, moments=moments)
            for some in (order[:half], order[half : 2 * half])
        )
        began = time.perf_counter()
        mean, scale, weights = fit_linear(own.features, own.liked, penalty=config.ranking.penalty)
        linear, linear_s = LinearRanker(mean, scale, weights, {}), time.perf_counter() - began
        began = time.perf_counter()
        trees = mart(own, seed)
        trees_s = time.perf_counter() - began
        for name, ask, fit_s in (
            ("taste", None, 0.0),
            ("linear", linear.score, linear_s),
            ("lambdamart", trees.predict, trees_s),
        ):
            one: dict[str, Any] = {"fit_s": fit_s}
            for side, lists in (("valid", others), ("test", on_test)):
                one[side] = told(lists, lists.before if ask is None else [ask(of) for of in lists.features])
            figures.setdefault(name, []).append(one)
    summary: dict[str, Any] = {}
    for name, runs in figures.items():
        summary[name] = {"fit_s": round(float(np.mean([one["fit_s"] for one in runs])), 2)}
        for side in ("valid", "test"):
            for metric in ("recall@20", "ndcg@20"):
                values = np.array([one[side][metric] for one in runs])
                base = np.array([one[side][metric] for one in figures["taste"]])
                summary[name][f"{side} {metric}"] = {
                    "mean": round(float(values.mean()), 4),
                    "sd": round(float(sample_deviation(values)), 4),
                    "over_taste": round(float((values / base).mean()), 3),
                }
    print(json.dumps({"shop": args.shop.name, "users": args.users, "seeds": args.seeds, **summary}, indent=1))
    keep(args, summary)


if __name__ == "__main__":
    main()
