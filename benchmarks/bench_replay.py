"""How fast a replay is: against a plain loop over rows, and from 100,000 to 10 million impressions.

    .venv/bin/python benchmarks/bench_replay.py --json replay.json

Five policies, every single-slot estimator, 200 bootstrap replicates, segments and course over time. Each size runs in a
process of its own, which reads a parquet file as the command does, and tells its seconds for reading and for the replay
and its peak memory. The loop does the same sums row
by row in Python (without segments and MRDR's second model), its bootstrap 200 numpy draws a row; it runs on few rows,
and both are compared per row in CPU seconds, as other work on the machine stretches the clock.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import keep, takes_json

from features.quarantine import Quarantine
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.form import LogFormat
from recsys.replay.log import Log
from recsys.replay.policy import Logged, Policy, TablePolicy
from recsys.replay.reading import read_logs
from recsys.replay.simulator.policies import tasteful
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.world import make_world
from recsys.replay.survey import survey

SHOP = make_world(n_items=34, n_groups=4, drift=1.0, click_rate=0.05, seed=0)
BEHAVIOR = tasteful(SHOP, strength=0.5, name="behavior")
REPLICATES = 200
PART = 500_000


def policies(log: Log) -> list[Policy]:
    """Who is judged."""
    order = [SHOP.groups.index(name) for name in log.groups]
    tables = (tasteful(SHOP, strength=s, name=f"strength {s}") for s in (0.0, 1.0, 2.0, -1.0))
    items = [SHOP.items.idx(item) for item in log.items.ids]
    return [Logged(log), *(TablePolicy(one.name, one.table[order][:, items]) for one in tables)]


def write_log(file: Path, n_rows: int) -> None:
    """A log as a parquet file, drawn part by part."""
    writer = None
    for start in range(0, n_rows, PART):
        part = simulate(SHOP, BEHAVIOR, min(PART, n_rows - start), seed=start)
        items = pa.DictionaryArray.from_arrays(part.item_idx, list(SHOP.items.ids)).cast(pa.string())
        visitors = pa.DictionaryArray.from_arrays(part.group.astype(np.int32), list(SHOP.groups)).cast(pa.string())
        table = pa.table(
            {
                "request_id": pa.array(part.request_idx + start),
                "item_id": items,
                "clicked": pa.array(part.reward.astype(np.int8)),
                "propensity": pa.array(part.propensity),
                "visitor": visitors,
                "timestamp": pa.array(part.timestamp),
            }
        )
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=PART // 4)
    assert writer is not None
    writer.close()


def peak_mb() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024


def one(file: Path) -> dict[str, float]:
    """Read and replay a log; in a process of its own."""
    before = time.process_time()
    (log,) = read_logs(file, LogFormat(group=("visitor",)), quarantine=Quarantine())
    read = time.process_time() - before
    judged = policies(log)
    start, cpu = time.perf_counter(), time.process_time()
    found = replay(log, judged, against="logged", config=ReplayConfig(bootstrap_samples=REPLICATES))
    assert math.isclose(found.policies["logged"].estimators["ips"].value, found.mean_reward)
    return {
        "read_cpu_s": round(read, 2),
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "peak_mb": peak_mb(),
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
    takes_json(parser)
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
            write_log(Path(folder) / "log.parquet", size)
            call = [sys.executable, __file__, "--one", f"{folder}/log.parquet"]
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
        "read_cpu_s": round(figures[f"{options.sizes[-1]:,}"]["read_cpu_s"] / first["read_cpu_s"], 1),
        "peak_mb": round(figures[f"{options.sizes[-1]:,}"]["peak_mb"] / first["peak_mb"], 2),
    }
    for name, value in figures.items():
        print(f"{name:18} {value}")
    keep(options, figures)


if __name__ == "__main__":
    main()
