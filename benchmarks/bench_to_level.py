"""How long LightGCN, trained as published, and the GNN take to come to a level of recall@20, on the same machine.

    .venv/bin/python benchmarks/bench_to_level.py --data ../shared/data/gowalla --level 0.183

The published protocol is that of Gowalla's tables: training and validation pairs are learned from and the test pairs
are looked at every few epochs. Nothing is chosen by them here: told is when each training first reaches the level, in
seconds from its start, looks at the test pairs included (all users; LightGCN looks every 5 epochs, the GNN every 3),
and the ratio of the two. LightGCN: BPR, 3 layers, 64 dimensions, batches of 2,048 pairs, learning rate .001, penalty
1e-4, starting embeddings of .1. A training that has not got there after --limit seconds is stopped; its time is that at
least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_curves import curves_plot
from figures import keep, takes_json

from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.bench.run import GivenUp
from recsys.bench.settings import model_settings
from recsys.bench.task import Task
from recsys.models.gnn import DENSE
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.run_folder import CACHE
from recsys.trainer import RECALL, Entry, chosen_device

ALL_USERS = 1_000_000
PUBLISHED = {
    "loss": "bpr",
    "layers": 3,
    "dim": 64,
    "batch_pairs": 2048,
    "learning_rate": 0.001,
    "penalty": 1e-4,
    "start": 0.1,
    "epochs": 1000,
    "evaluate_every": 5,
    "patience": 1000,
    "validation_users": ALL_USERS,
}
OURS = {**DENSE, "train.max_candidates": 65_536, "train.patience": 1000, "train.validation_users": ALL_USERS}


@dataclass
class Climb:
    """A training's looks as (epoch, seconds, recall@20), and when it reached the level, if it did.

    Args:
        level: recall@20.
        limit_s: after so many seconds the training ends.
    """

    level: float
    limit_s: float
    started: float = field(default_factory=time.monotonic)
    looks: list[tuple[float, float, float]] = field(default_factory=list)

    def watch(self, entry: Entry) -> None:
        """Note a look; ends the training at the level or at the limit."""
        self.looks.append((entry["epoch"], round(time.monotonic() - self.started, 2), round(entry[RECALL], 5)))
        print("  epoch {:.0f}: {:.1f} s, {:.4f}".format(*self.looks[-1]), flush=True)
        if entry[RECALL] >= self.level or self.looks[-1][1] > self.limit_s:
            raise GivenUp

    @property
    def reached(self) -> bool:
        """Whether the last look is at the level."""
        return bool(self.looks) and self.looks[-1][2] >= self.level


def climb(task: Task, name: str, changes: dict[str, Any], *, level: float, limit_s: float) -> Climb:
    """Train one model on everything but the test pairs, which are looked at."""
    whole = task.final or task.split
    split = replace(whole, valid=whole.test, test=whole.test.where(np.zeros(0, dtype=np.int64)))
    with tempfile.TemporaryDirectory() as folder:
        told = Climb(level, limit_s)
        budget = "train.time_budget_s" if name == "gnn" else "time_budget_s"
        config = changed(MODELS[name].config, {**changes, budget: limit_s})
        with suppress(GivenUp):
            MODELS[name].fit(split, task.known, config, Job(0, Path(folder), told.watch))
    return told


def main() -> None:
    """Print each climb, then the ratio of their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="any folder that `recsys bench` reads")
    parser.add_argument("--level", type=float, default=0.183)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for each training")
    parser.add_argument("--set", action="append", default=[], help="as for `recsys bench`", metavar="MODEL.FIELD=VALUE")
    takes_json(parser)
    parser.add_argument("--svg", type=Path, help="where to draw recall by seconds")
    given = parser.parse_args()
    task = read_task(given.data, split_file=None, refit=True, cache_dir=CACHE, quarantine=Quarantine())
    settings = model_settings(given.set)
    climbs = {}
    for name, changes in (("gnn", OURS), ("lightgcn", PUBLISHED)):
        print(f"{name}, device {chosen_device('auto')}", flush=True)
        both = {**changes, **settings.get(name, {})}
        climbs[name] = one = climb(task, name, both, level=given.level, limit_s=given.limit)
        if not one.looks:
            raise SystemExit(f"{name}: --limit {given.limit:g} is over before the first look; give it more")
        verdict = "reached" if one.reached else "not reached"
        print(f"{name}: {given.level} {verdict} after {one.looks[-1][1]:.1f} s ({one.looks[-1][2]:.4f})", flush=True)
        keep(given, {name: {"reached": one.reached, "looks": one.looks} for name, one in climbs.items()})
    if given.svg:
        lines = {name: [(seconds, recall) for _, seconds, recall in one.looks] for name, one in climbs.items()}
        lines[f"level {given.level:g}"] = [
            (0.0, given.level),
            (max(line[-1][0] for line in lines.values()), given.level),
        ]
        curves_plot(given.svg, f"{task.name}: recall@20 on test by time of training", lines, over="seconds")
    ours, rival = climbs["gnn"], climbs["lightgcn"]
    if ours.reached:
        least = "" if rival.reached else "at least "
        print(f"LightGCN takes {least}{rival.looks[-1][1] / ours.looks[-1][1]:.1f} x the time of the GNN")


if __name__ == "__main__":
    main()
