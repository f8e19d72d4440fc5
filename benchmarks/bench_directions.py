"""How many leading directions a data set has: validation recall of the spectral filter by their number.

    .venv/bin/python benchmarks/bench_directions.py --data ../shared/data/gowalla

For each smoothing of the degrees the directions are found once, at the largest number, and of them the first 64, 128,
256, ... are judged. Smoothing 0 with an exponent of 1/2 is the ideal low-pass filter of GF-CF (Shen et al. 2021); told
is each best recall@20 over that filter's best. Test is not looked at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from figures import keep, takes_json

from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.linear.scaling import powers, scaled
from recsys.linear.spectral import leading_directions, spectral_input
from recsys.run_folder import CACHE
from recsys.scorer import EmbeddingScorer

JUDGED = EvaluationConfig(ks=(20,), bootstrap_samples=0, max_users=2_500)


def main() -> None:
    """Find the directions once a smoothing, and judge ever more of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="any folder that `recsys bench` reads")
    parser.add_argument("--smoothing", type=float, nargs="+", default=[0.0, 1.0], help="in means of the degrees")
    parser.add_argument("--exponent", type=float, default=0.5, help="of the popularity that is given back")
    parser.add_argument("--most", type=int, default=1024, help="largest number of directions")
    takes_json(parser)
    given = parser.parse_args()
    split = read_task(given.data, split_file=None, refit=None, cache_dir=CACHE, quarantine=Quarantine()).split
    pairs = split.train.matrix(binary=True)
    most = min(given.most, *pairs.shape)
    ranks = [rank for rank in (64 * 2**power for power in range(20)) if rank < most] + [most]
    best: dict[float, float] = {}
    rows = []
    for smoothing in given.smoothing:
        started = time.process_time()
        matrix, degrees = spectral_input(pairs, smoothing)
        directions = leading_directions(matrix, most)
        print(
            f"smoothing {smoothing}: {directions.shape[1]} directions in {time.process_time() - started:.1f} s of CPU"
        )
        history, back = scaled(pairs, columns=powers(degrees, -0.5)), powers(degrees, given.exponent)[:, None]
        for rank in ranks:
            kept = directions[:, :rank]
            scorer = EmbeddingScorer("spectral", history @ kept, back * kept)
            found = evaluate(scorer, split, on="valid", config=JUDGED).metrics
            rows.append({"smoothing": smoothing, "directions": rank, **found})
            best[smoothing] = max(best.get(smoothing, 0.0), found["recall@20"])
            print(f"  {rank:5d}  recall@20 {found['recall@20']:.4f}  ndcg@20 {found['ndcg@20']:.4f}", flush=True)
    for smoothing, recall in best.items():
        ratio = f", {recall / best[0.0]:.3f} x smoothing 0" if best.get(0.0) else ""
        print(f"smoothing {smoothing}: best recall@20 {recall:.4f}{ratio}")
    keep(given, {"rows": rows, "best": [{"smoothing": name, "recall@20": recall} for name, recall in best.items()]})


if __name__ == "__main__":
    main()
