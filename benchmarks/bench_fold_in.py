"""New users: how well a user whom training never saw is served from a few events, without training again.

    .venv/bin/python benchmarks/bench_fold_in.py --data ../shared/data/ml100k-posters \
        --split ../shared/data/ml100k-posters/split-warm.parquet --json fold.json

Every fifth user's training events are taken away, and the GNN is trained on the rest. Each of these users then gets a
vector from their first 3, 5, 10 or all training items as the service makes it (`recsys/live_user.py`: the weighted mean
of the items' directions), and is judged on their test items, the training items left out. Beside it, over the same
users: the vector that a training with their events gave, and what everybody likes. Told are recall@20, ndcg@20 and the
ratio to popularity.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import keep, takes_json
from numpy.typing import NDArray

from features.quarantine import Quarantine
from recsys.baselines.popularity import fit_popularity
from recsys.bench.read import read_task
from recsys.bench.settings import model_settings
from recsys.bench.task import Task
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split
from recsys.live_user import LiveConfig, live_vector, recent_weights
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.run_folder import CACHE
from recsys.scorer import EmbeddingScorer, Scorer

EVERY = 5
COUNTS = (3, 5, 10, 1_000_000)


def gnn(task: Task, split: Split, settings: dict[str, object]) -> EmbeddingScorer:
    """The GNN, trained on a split's training side."""
    model = MODELS["gnn"]
    with tempfile.TemporaryDirectory() as folder:
        scorer = model.fit(split, task.known, changed(model.config, settings), Job(0, Path(folder)))
    assert isinstance(scorer, EmbeddingScorer)
    return scorer


def folded(scorer: EmbeddingScorer, split: Split, new: NDArray[np.bool_], count: int) -> EmbeddingScorer:
    """The same items, with the vectors of new users made from their first `count` training items."""
    users = scorer.user_embeddings.copy()
    directions = scorer.item_embeddings[:, :-1]
    for user in np.flatnonzero(new):
        items = split.train.item_idx[split.train.user_idx == user]
        items = items[np.sort(np.unique(items, return_index=True)[1])][:count]
        vector = live_vector(None, directions[items], recent_weights(len(items), None, LiveConfig()), LiveConfig())
        users[user] = 0 if vector is None else np.append(vector.vector, np.float32(1))
    return replace(scorer, user_embeddings=users)


def judged(scorer: Scorer, split: Split) -> dict[str, float]:
    """Recall and NDCG on test."""
    found = evaluate(scorer, split, on="test", config=EvaluationConfig(ks=(20,), bootstrap_samples=0)).metrics
    return {name: found[name] for name in ("recall@20", "ndcg@20")}


def main() -> None:
    """Print a table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data set of `recsys bench`")
    parser.add_argument("--split", type=Path, help="of a shop")
    parser.add_argument("--set", action="append", default=[], help="a setting such as gnn.train.epochs=50")
    parser.add_argument("--cache", type=Path, default=CACHE)
    takes_json(parser)
    given = parser.parse_args()
    task = read_task(given.data, split_file=given.split, refit=None, cache_dir=given.cache, quarantine=Quarantine())
    settings = model_settings(given.set).get("gnn", {})
    new = np.arange(len(task.split.train.users)) % EVERY == 0
    known = [side.where(~new[side.user_idx]) for side in (task.split.train, task.split.valid)]
    without = Split("without new users", known[0], known[1], task.split.test)
    asked = task.split.test.where(new[task.split.test.user_idx])
    judge = replace(task.split, test=asked)  # what new users had before is left out of their lists
    stranger = gnn(task, without, settings)
    rows: dict[str, Scorer] = {
        "popularity": fit_popularity(without),
        **{
            f"folded in from {'all' if count > 1000 else count}": folded(stranger, task.split, new, count)
            for count in COUNTS
        },
        "trained": gnn(task, task.split, settings),
    }
    told = {name: judged(scorer, judge) for name, scorer in rows.items()}
    print(f"{task.name}: {len(np.unique(asked.user_idx))} users judged")
    for name, one in told.items():
        ratio = one["recall@20"] / told["popularity"]["recall@20"]
        one["over_popularity"] = ratio
        print(f"{name:20} recall@20 {one['recall@20']:.4f}  ndcg@20 {one['ndcg@20']:.4f}  {ratio:.2f} x popularity")
    keep(given, told)


if __name__ == "__main__":
    main()
