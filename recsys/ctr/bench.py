"""`recsys bench` on ratings: every model on the same random splits, each fit in a process of its own, one table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import structlog

from features.checkpoint import fingerprint
from features.errors import InputError
from features.progress import bar
from features.quarantine import Quarantine
from recsys.bench.memory import Growth
from recsys.bench.run import apart
from recsys.ctr.knowledge import FactGraph
from recsys.ctr.metrics import METRICS, best_threshold, judge
from recsys.ctr.model import RatingModel, Task
from recsys.ctr.ratings import Ratings, read_ratings, six_two_two
from recsys.ctr.registry import MODELS
from recsys.ctr.table import bench_json, write_tables
from recsys.evaluation_json import plain
from recsys.run_folder import write_atomically

log = structlog.get_logger()
PROTOCOL = (
    "Ratings of 0 and 1, split 6 : 2 : 2 at random, a split a seed; everything, the threshold of F1 and accuracy "
    "included, is chosen on validation, and each fit is judged on test once."
)


def compare_ratings(
    folder: Path, models: Sequence[RatingModel], *, seeds: int, out: Path, quarantine: Quarantine
) -> dict[str, Any]:
    """Compare models of ratings, leaving `bench.json` and `bench.md`, which are written anew after each model.

    Args:
        folder: the benchmark folder; see `recsys/ctr/ratings.py`.
        models: in the order of the tables.
        seeds: splits, and fits a model, under the seeds 0, 1, ...
        out: where everything is left; a fit that is there already is not done again.
        quarantine: takes the rows that are refused.

    Returns:
        The content of bench.json; see `recsys.ctr.table.bench_json`.

    Raises:
        InputError: the folder cannot be read.
    """
    ratings = read_ratings(folder, quarantine=quarantine)
    facts = FactGraph.read(folder, ratings, quarantine=quarantine)
    task = _fingerprint(ratings, facts)
    results: dict[str, list[dict[str, Any]]] = {}
    told: dict[str, Any] = {}
    with bar("compare models", total=len(models) * seeds) as progress:
        for number, model in enumerate(models):
            results[model.name] = []
            for seed in range(seeds):
                progress.note(f"{model.name}, split {seed + 1}")
                name = f"{model.name}-{fingerprint(version('recsys'), task, model.summary, str(seed))[:16]}"
                done = out / "runs" / f"{name}.json"
                if not done.is_file():
                    found = apart(fit_and_judge, folder, model.name, seed, run_dir=out / "runs" / name)
                    done.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(done, orjson.dumps(plain(found), option=orjson.OPT_INDENT_2))
                results[model.name].append(orjson.loads(done.read_bytes()))
                progress.advance()
            complete = number + 1 == len(models)
            told = bench_json(folder.resolve().name, PROTOCOL, counts(ratings, facts), results, complete=complete)
            write_tables(told, out=out)
    return told


def fit_and_judge(folder: Path, name: str, seed: int, *, run_dir: Path) -> dict[str, Any]:
    """One fit on one split.

    Args:
        folder: the benchmark folder.
        name: of the model.
        seed: of split and model.
        run_dir: for checkpoints; removed when the fit is done.

    Returns:
        "model", "seed", "valid" and "test" (metric to value), "threshold", "fit_s", "peak_bytes".
    """
    quarantine = Quarantine()
    ratings = read_ratings(folder, quarantine=quarantine)
    facts = FactGraph.read(folder, ratings, quarantine=quarantine)
    train, valid, test = six_two_two(ratings, seed=seed)
    for side, part in (("train", train), ("valid", valid), ("test", test)):
        if set(part.label.tolist()) != {0, 1}:
            raise InputError(f"{folder}: each side of the split must have ratings of both labels, {side} has not")
    growth, started = Growth(), time.perf_counter()
    fitted = MODELS[name].fit(Task(train, valid, facts, seed, run_dir))
    seconds, peak = time.perf_counter() - started, growth.bytes()
    told: dict[str, Any] = {"model": name, "seed": seed}
    probability = fitted.probability(valid.user_idx, valid.item_idx)
    threshold = best_threshold(valid.label, probability)
    told["valid"] = judge(valid.label, probability, threshold)
    told["test"] = judge(test.label, fitted.probability(test.user_idx, test.item_idx), threshold)
    shutil.rmtree(run_dir, ignore_errors=True)
    log.info(
        "judged", model=name, seed=seed, fit_s=round(seconds, 1), **{k: round(told["test"][k], 4) for k in METRICS}
    )
    return {**told, "threshold": threshold, "fit_s": seconds, "peak_bytes": peak}


def counts(ratings: Ratings, facts: FactGraph) -> dict[str, int]:
    """What there is."""
    return {
        "n_users": len(ratings.users),
        "n_items": len(ratings.items),
        "ratings": len(ratings),
        "liked": int(ratings.label.sum()),
        "facts": sum(map(len, facts.facts.values())),
        "relations": len({relation for _, relation, _ in facts.facts}),
    }


def _fingerprint(ratings: Ratings, facts: FactGraph) -> str:
    edges = [part for listed in facts.facts.values() for part in (listed.src, listed.dst, listed.weight)]
    return fingerprint(
        str([str(kind) for kind in facts.facts]), ratings.user_idx, ratings.item_idx, ratings.label, *edges
    )
