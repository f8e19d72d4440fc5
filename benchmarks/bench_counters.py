"""How well counters recover what attracts, beside plain click rates, on logs whose order works against it.

    .venv/bin/python benchmarks/bench_counters.py --requests 20000 --seeds 5

Lists of eight of forty items stand in an order that puts the attractive ones low, wavering; places are looked at by
1 / sqrt(place). Printed is Spearman's correlation with the planted appeal, mean and spread over the seeds.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from figures import keep, takes_json
from scipy.stats import spearmanr

from features.deviation import sample_deviation
from features.vocabulary import Vocabulary
from recsys.appeal.counting import CountingConfig, count_logs
from recsys.appeal.then import StandingThen
from recsys.ranking.standing import Standing
from recsys.replay.log import Log

ITEMS, SLOTS = 40, 8


def correlations(n: int, seed: int) -> tuple[float, float]:
    """Of our counters and of plain click rates with the planted appeal."""
    rng = np.random.default_rng(seed)
    base = rng.normal(-1.5, 0.3, ITEMS)
    chance = 1 / (1 + np.exp(-base))
    wavering = rng.gumbel(size=(n, ITEMS))
    wavering[rng.random((n, ITEMS)).argsort(axis=1) >= SLOTS] = -np.inf
    order = np.argsort(4 * base - wavering, axis=1)[:, :SLOTS]
    clicked = rng.random(order.shape) < chance[order] / np.sqrt(np.arange(1, SLOTS + 1))
    item, reward, one = order.ravel(), clicked.ravel().astype(np.float64), np.ones(order.size)
    log = Log(
        name="m/feed",
        items=Vocabulary(tuple(f"item-{row}" for row in range(ITEMS))),
        item_idx=item,
        position=np.tile(np.arange(SLOTS), n),
        reward=reward,
        propensity=one,
        request_idx=np.repeat(np.arange(n), SLOTS),
        user_idx=-np.ones(order.size, dtype=np.int64),
        group=np.zeros(order.size, dtype=np.int16),
        timestamp=np.repeat(1.6e9 + np.arange(n), SLOTS),
    )
    history = count_logs([log], CountingConfig(), window_s=0.0)
    ours = StandingThen(Standing.of_nothing(ITEMS), log.items, history)(np.inf).columns[:, 0]
    plain = np.bincount(item, reward, ITEMS) / np.bincount(item, minlength=ITEMS)
    return float(spearmanr(ours, chance).statistic), float(spearmanr(plain, chance).statistic)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    takes_json(parser)
    args = parser.parse_args()
    found = np.array([correlations(args.requests, seed) for seed in range(args.seeds)])
    mean, spread = found.mean(axis=0).round(3).tolist(), sample_deviation(found).round(3).tolist()
    told = {name: {"mean": mean[row], "sd": spread[row]} for row, name in enumerate(("counters", "click rate"))}
    figures = {**told, "ratio": round(mean[0] / mean[1], 2)}
    print(json.dumps(figures, indent=1))
    keep(args, figures)


if __name__ == "__main__":
    main()
