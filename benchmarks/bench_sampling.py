"""Where sampling pays: a training step of LightGCN on drawn neighborhoods against one on the whole graph.

    .venv/bin/python benchmarks/bench_sampling.py --json sampling.json --plot sampling.svg
    .venv/bin/python benchmarks/bench_sampling.py --device cuda --workers 4 --sizes 1000000 10000000

The product's own learners (`recsys.models.pairs`, `recsys.models.sampled_pairs`) take steps of BPR (batch 2,048, 64
dimensions, 3 layers) on made-up pairs with a long tail of items, twenty edges a user; each size and variant has a
process of its own. Told are the median seconds of a step (with gradient and Adam), the ratio to the whole graph's in
the same run, and memory: growth of the process over the pairs themselves, at the peak of the steps; on CUDA the peak of
what PyTorch holds there.

    whole      propagation over the whole graph
    drawn      fan-outs 10, 5, 5, drawn between the steps
    ahead      the same, drawn ahead of the steps by --workers processes, and on CUDA pinned and copied ahead
    unpinned   on CUDA alone: the same, each neighborhood copied when it is needed, from memory that is not pinned
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_train import synthetic
from figures import keep, takes_json
from log_plot import log_plot

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.sampling.neighborhood import Neighborhood
from recsys.models.lightgcn import LightGCN, LightGCNConfig, SampledLightGCN
from recsys.models.model import changed
from recsys.models.pairs import PairLearner
from recsys.models.sampled_pairs import SampledPairLearner
from recsys.sampled import Draw, Epoch, drawn_ahead

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
FANOUTS = (10, 5, 5)


class Unpinned(SampledPairLearner):
    """Copies when a step asks, in its stream."""

    def _ahead(self, draw: Draw, epoch: Epoch) -> Iterator[Neighborhood]:
        for one in drawn_ahead(draw, len(epoch.runs), workers=self._config.sampling.workers, device="cpu"):
            yield one.to(self._device)


def pairs(edges: int) -> Interactions:
    """Made-up pairs."""
    likes = synthetic(max(edges // 20, 100), max(edges // 50, 100), edges).tocoo()
    users, items = (Vocabulary(tuple(map(str, range(n)))) for n in likes.shape)
    ones, kind = np.ones(edges, dtype=np.float32), np.full(edges, "like", dtype=object)
    return Interactions(users, items, likes.row.astype(np.int64), likes.col.astype(np.int64), kind, ones)


def one(variant: str, edges: int, device: str, *, workers: int, steps: int) -> dict[str, Any]:
    """Steps of a variant in this process."""
    train = pairs(edges)
    liked = train.matrix(binary=True)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    started = time.perf_counter()
    config = changed(LightGCNConfig(), {"sampling.workers": 0 if variant == "drawn" else workers})
    if variant == "whole":
        learner = PairLearner(LightGCN(liked, config, seed=0, device=device).to(device), train, config, device=device)
    else:
        config = changed(config, {"sampling.fanouts": FANOUTS})
        drawing = SampledLightGCN(liked, None, config, seed=0, device=device).to(device)
        learner = (Unpinned if variant == "unpinned" else SampledPairLearner)(drawing, train, config, device=device)
    optimizer = torch.optim.AdamW(learner.model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    built_s = time.perf_counter() - started
    seconds, cpu = [], []
    losses = learner.epoch(np.random.default_rng(0))
    for _ in range(steps + 2):
        started, used = time.perf_counter(), time.process_time()
        loss = next(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024
    return {
        "variant": variant,
        "edges": edges,
        "step_s": statistics.median(seconds[2:]),
        "step_cpu_s": statistics.median(cpu[2:]),
        "built_s": built_s,
        "peak_bytes": torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak - before,
    }


def main() -> None:
    """Print a table and, where asked, write it as JSON and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="edges")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw neighborhoods ahead")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--variants", nargs="+", choices=["whole", "drawn", "ahead", "unpinned"])
    takes_json(parser, "results, with machine and settings; what stands there already is not measured again")
    parser.add_argument("--plot", type=Path, help="draw sampling-step.svg and sampling-peak.svg for sampling.svg")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if given.one:
        variant, edges = given.one
        print(json.dumps(one(variant, int(edges), given.device, workers=given.workers, steps=given.steps)), flush=True)
        os._exit(0)  # the workers' queues hold steps that nobody takes
    variants = given.variants or ["whole", "drawn", "ahead", *(["unpinned"] if given.device.startswith("cuda") else [])]
    setting = {"device": given.device, "workers": given.workers}
    there = json.loads(given.json.read_text())["rows"] if given.json and given.json.is_file() else []
    kept = {(row["edges"], row["variant"]): row for row in there if setting.items() <= row.items()}
    rows: list[dict[str, Any]] = []
    for edges in sorted(given.sizes):
        for variant in variants:
            row = kept.get((edges, variant))
            if row is None:
                command = [sys.executable, __file__, "--one", variant, str(edges), "--device", given.device]
                command += ["--workers", str(given.workers), "--steps", str(given.steps)]
                told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                row = json.loads(told.splitlines()[-1]) | setting
            rows.append(row)
            first = next(one for one in rows if one["edges"] == edges)
            wall, cpu = (row[key] / first[key] for key in ("step_s", "step_cpu_s"))
            print(
                f"{edges:>10,} edges  {variant:9} {row['step_s']:8.4f} s a step, {wall:6.3f} x {first['variant']} "
                f"({row['step_cpu_s']:.4f} s of processor time, {cpu:.3f} x), {row['peak_bytes'] / 1e6:8.1f} MB",
                flush=True,
            )
            keep(given, {"rows": [*(row for row in there if row not in rows), *rows]})
    if given.plot is not None:
        for unit, key in (("seconds a step", "step_s"), ("bytes of training", "peak_bytes")):
            lines = {name: [(row["edges"], row[key]) for row in rows if row["variant"] == name] for name in variants}
            path = given.plot.with_stem(f"{given.plot.stem}-{key.split('_', 1)[0]}")
            log_plot(path, "LightGCN by size of the graph", "edges", unit, lines)
            print(f"plot  {path}")


if __name__ == "__main__":
    main()
