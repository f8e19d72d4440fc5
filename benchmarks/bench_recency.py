"""What it is worth to let a user's newer items say more: the walk's ranking of the ends of the lists, by recency.

    .venv/bin/python benchmarks/bench_recency.py --data ../shared/data/gowalla

Held out is the last tenth of each user's training pairs (`recsys bench --valid last`); test is not looked at. Told is
each recall@20 over that without recency, and last the same with every user's list shuffled: what recency is worth where
the order says nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import keep, takes_json

from features.interactions import Interactions
from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.bench.task import Task
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.models.closed_form import Sides
from recsys.models.model import Job, changed
from recsys.models.walk import WalkConfig, fit_walk
from recsys.run_folder import CACHE

JUDGED = EvaluationConfig(ks=(20,), bootstrap_samples=0, max_users=2_500)


def recall(task: Task, recency: float) -> float:
    """recall@20 of one step of the walk on validation."""
    settings = {
        "persistence": (0.0,),
        "target_exponent": (0.35,),
        "source_exponent": (0.1,),
        "user_exponent": (0.4,),
        "recency": (recency,),
        "tuning.tuning_users": 1,
    }
    walk = fit_walk("walk", task.split, Sides(), changed(WalkConfig(), settings), Job(0, CACHE))
    found = evaluate(walk, task.split, on="valid", config=JUDGED).metrics
    print(f"  recency {recency}: recall@20 {found['recall@20']:.4f}  ndcg@20 {found['ndcg@20']:.4f}", flush=True)
    return found["recall@20"]


def shuffled(train: Interactions) -> Interactions:
    """The same events in any order."""
    order = np.random.default_rng(0).permutation(len(train))
    return replace(train.where(order), timestamp=None, placed=None)


def main() -> None:
    """Judge each recency, then the best with the order taken away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="any folder that `recsys bench` reads")
    parser.add_argument("--recency", type=float, nargs="+", default=[0.4, 0.8, 1.2], help="values beside 0")
    takes_json(parser)
    given = parser.parse_args()
    task = read_task(given.data, split_file=None, refit=None, cache_dir=CACHE, quarantine=Quarantine(), valid="last")
    plain = recall(task, 0.0)
    reached = {recency: recall(task, recency) for recency in given.recency}
    best = max(reached, key=lambda recency: reached[recency])
    print("in shuffled lists")
    chance = recall(replace(task, split=replace(task.split, train=shuffled(task.split.train))), best)
    for recency, one in reached.items():
        print(f"recency {recency}: {one / plain:.3f} x no recency")
    print(f"recency {best} in shuffled lists: {chance / plain:.3f} x no recency")
    over = [{"recency": recency, "recall@20": one, "ratio": one / plain} for recency, one in reached.items()]
    keep(given, {"without": plain, "with": over, "shuffled": {"recency": best, "ratio": chance / plain}})


if __name__ == "__main__":
    main()
