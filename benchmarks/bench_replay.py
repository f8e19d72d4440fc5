"""How fast a replay is: against a plain loop over rows, and from 100,000 to 10 million impressions.

    .venv/bin/python benchmarks/bench_replay.py --json

Five policies, every single-slot estimator, 200 bootstrap replicates, segments and course over time. Each size runs in a
process of its own over a memory-mapped log, and tells its seconds and its peak memory. The loop does the same sums row
by row in Python (without segments and MRDR's second model), its bootstrap 200 numpy draws a row; it runs on few rows,
and both are compared per row in CPU seconds, as other work on the machine stretches the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.policy import Logged, Policy, TablePolicy
from recsys.replay.simulator.policies import tasteful
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.world import make_world
from recsys.replay.survey import survey

SHOP = make_world(n_items=34, n_groups=4, drift=1.0, click_rate=0.05, seed=0)
BEHAVIOR = tasteful(SHOP, strength=0.5, name="behavior")
COLUMNS = ("item_idx", "position", "reward", "propensity", "request_idx", "user_idx", "group", "timestamp")
REPLICATES = 200
PART = 500_000


def policies(log: Log) -> list[Policy]:
    """Who is judged."""
    return [Logged(log), *(tasteful(SHOP, strength=s, name=f"strength {s}") for s in (0.0, 1.0, 2.0, -1.0))]


def write_log(folder: Path, n_rows: int) -> None:
    """Columns as memory-mapped files, drawn part by part."""
    for start in range(0, n_rows, PART):
        part = simulate(SHOP, BEHAVIOR, min(PART, n_rows - start), seed=start)
        for name in COLUMNS:
            column = getattr(part, name)
            path = folder / f"{name}.npy"
            if start == 0:
                np.lib.format.open_memmap(path, mode="w+", dtype=column.dtype, shape=(n_rows,)).flush()
            file = np.lib.format.open_memmap(path, mode="r+")
            file[start : start + len(part)] = column + start if name == "request_idx" else column
            file.flush()


def open_log(folder: Path) -> Log:
    """The log over its files."""
    columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return Log(name="large", items=SHOP.items, groups=SHOP.groups, **columns)


def one(folder: Path) -> dict[str, float]:
    """Replay the log of a folder; in a process of its own."""
    log = open_log(folder)
    start, cpu = time.perf_counter(), time.process_time()
    found = replay(log, policies(log), against="logged", config=ReplayConfig(bootstrap_samples=REPLICATES))
    assert found.policies["logged"].estimators["ips"].value == float(np.mean(log.reward))
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def plain_loop(log: Log, judged: list[TablePolicy]) -> float:
    """CPU seconds for the same sums, row by row."""
    on_log, on_policies = survey(log, judged)
    values, rows = on_log.values, log.rows(slice(0, len(log)))
    rng = np.random.default_rng(0)
    start = time.process_time()
    for policy, on_policy in zip(judged, on_policies, strict=True):
        n_columns = 40
        sums, replicates = np.zeros(n_columns), np.zeros((REPLICATES, n_columns))
        for row in range(len(log)):
            cell, item, fold = int(rows.cell[row]), int(rows.item_idx[row]), int(rows.fold[row])
            r, chance = float(rows.reward[row]), policy.table[cell]
            w = float(chance[item]) / float(rows.propensity[row])
            expected = values[fold, cell]
            v = 0.0
            for other in range(len(chance)):
                v += chance[other] * expected[other]
            d = r - expected[item]
            e = w
            kept = float(rng.random() * on_policy.largest < w)
            line = [w, w * r, kept, kept * r, v, w * d, v + w * d, e, e * r]
            for level in on_policy.levels:
                line += [min(w, level), min(w, level) * r, d * w if w <= level else 0.0]
                line.append(level**2 * w / (w * w + level**2) * d)
            line += [0.0] * (n_columns - len(line))
            filled = np.array(line)
            sums += filled
            replicates += np.outer(rng.poisson(1.0, REPLICATES), filled)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--loop-rows", type=int, default=1_000, help="rows of the plain loop")
    parser.add_argument("--folder", type=Path, help="where logs are written; a temporary folder else")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one(options.one)))
        return
    figures: dict[str, Any] = {}
    small = simulate(SHOP, BEHAVIOR, options.loop_rows, seed=0)
    judged = [tasteful(SHOP, strength=s, name=f"strength {s}") for s in (0.5, 0.0, 1.0, 2.0, -1.0)]
    loop_us = 1e6 * plain_loop(small, judged) / options.loop_rows
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            write_log(Path(folder), size)
            call = [sys.executable, __file__, "--one", folder]
            figures[f"{size:,}"] = json.loads(
                subprocess.run(call, check=True, capture_output=True).stdout.splitlines()[-1]
            )
    last = figures[f"{options.sizes[-1]:,}"]["cpu_s"]
    figures["loop_us_a_row"] = round(loop_us, 1)
    figures["replay_us_a_row"] = round(1e6 * last / options.sizes[-1], 2)
    figures["loop_over_replay"] = round(loop_us / (1e6 * last / options.sizes[-1]))
    first = figures[f"{options.sizes[0]:,}"]
    figures["growth"] = {
        "rows": options.sizes[-1] / options.sizes[0],
        "cpu_s": round(last / first["cpu_s"], 1),
        "peak_mb": round(figures[f"{options.sizes[-1]:,}"]["peak_mb"] / first["peak_mb"], 2),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
