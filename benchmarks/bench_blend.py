"""What a blend is worth on users its weights were not chosen on, by the length of the lists that choose them.

    .venv/bin/python benchmarks/bench_blend.py --data ../shared/data/ml1m-posters --split split-sparse.parquet \
        --models walk_side,denoiser_side,gnn --set denoiser_side.temperature=0.3

Each model is fitted once a seed, on the training side; then the weights are chosen by ndcg at each depth, over and over
with the validation users dealt into other folds. Printed is the mean recall@20 + ndcg@20 on the folds that a choice has
not seen, and over that of weights chosen by the first 20. Test is not looked at.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import keep, takes_json

from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.bench.settings import model_settings
from recsys.blend import BlendConfig, choose_weights, shortlists
from recsys.models.model import Job, changed
from recsys.models.registry import named
from recsys.run_folder import CACHE


def main() -> None:
    """Fit the members of each seed, then deal and choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="any folder that `recsys bench` reads")
    parser.add_argument("--split", help="of a shop: file name in its folder")
    parser.add_argument("--models", default="walk_side,denoiser_side,gnn", help="members, joined by commas")
    parser.add_argument("--depths", default="20,50,100,200", help="list lengths, the first is what others are over")
    parser.add_argument("--seeds", type=int, default=2, help="fits of each member, each a blend of its own")
    parser.add_argument("--deals", type=int, default=4, help="times that the users are dealt into folds")
    parser.add_argument("--set", action="append", default=[], help="as for `recsys bench`", metavar="MODEL.FIELD=VALUE")
    takes_json(parser)
    given = parser.parse_args()
    split_file = given.data / given.split if given.split else None
    task = read_task(given.data, split_file=split_file, refit=None, cache_dir=CACHE, quarantine=Quarantine())
    settings, depths = model_settings(given.set), [int(depth) for depth in given.depths.split(",")]
    worth = np.zeros((len(depths), given.seeds, given.deals))
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            members = [
                model.fit(
                    task.split, task.known, changed(model.config, settings.get(model.name, {})), Job(seed, Path(folder))
                )
                for model in named(given.models.split(","))
            ]
        config = BlendConfig(shortlist=max(*depths, BlendConfig().shortlist))
        lists = shortlists(members, task.split, config, seed=seed)
        for place, depth in enumerate(depths):
            started = time.process_time()
            for deal in range(given.deals):
                by_depth = config.model_copy(update={"depth": depth})
                weights, told = choose_weights(lists, by_depth, seed=deal)
                worth[place, seed, deal] = told["cross_fit"]
            seconds = (time.process_time() - started) / given.deals
            shown = ", ".join(f"{one.name} {weight:.2f}" for one, weight in zip(members, weights, strict=True))
            print(f"seed {seed}, depth {depth}: {worth[place, seed].mean():.4f} ({seconds:.0f} s; {shown})", flush=True)
    rows = []
    for place, depth in enumerate(depths):
        over = worth[place] / worth[0]
        rows.append({"depth": depth, "cross_fit": worth[place], "over_first": over.mean()})
        print(
            f"depth {depth:3}: recall@20 + ndcg@20 on unseen users {worth[place].mean():.4f}, "
            f"{over.mean():.3f} x depth {depths[0]} ({over.min():.3f} to {over.max():.3f})"
        )
    keep(given, {"depths": rows})


if __name__ == "__main__":
    main()
