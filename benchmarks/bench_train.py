"""One epoch of LightGCN: our propagation against PyTorch Geometric's on an edge index and against a COO product.

    .venv/bin/python benchmarks/bench_train.py --data ../shared/data/tiktok --json train.json
    .venv/bin/python benchmarks/bench_train.py --device cuda --data ../shared/data/gowalla
    .venv/bin/python benchmarks/bench_train.py --growth --plot growth.svg   # cost from 1e5 to 1e7 edges

Same graph, parameters, batches, negatives, loss and optimizer; only the propagation differs, and the losses of the
first steps must agree. In each round every variant runs the same epoch in turn; told are the median seconds of
an epoch, the median of the rounds' ratios (on a machine that does other work too, the only figure to trust), and the
same of processor time. Memory
is the growth of a process of its own from after building the graph to the peak of training; on CUDA it is the peak of
what PyTorch holds there, the graph included.

    ours        graph.csr.mean_of_layers: symmetric CSR, Horner's rule, its own gradient; nodes in close_order
    pyg         torch_geometric.nn.LightGCN, as it comes: edge index, normalized at every step
    edge index  torch_geometric.nn.LGConv, normalized once
    coo         torch.sparse.mm on a coalesced COO matrix, normalized once
    bfloat16    on CUDA alone: ours layer by layer, messages of half the width; its losses agree to two digits
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from figures import keep, takes_json
from scipy import sparse
from torch.nn.functional import embedding, logsigmoid

from graph import pyg as _pyg  # noqa: F401 - first: it silences a warning of the next imports
from graph.csr import Adjacency, close_order, mean_of_layers, normalized, propagate

from log_plot import log_plot  # isort: skip
from torch_geometric.nn import LGConv  # isort: skip
from torch_geometric.nn.models import LightGCN  # isort: skip

LAYERS, DIM, BATCH, RATE, TEMPERATURE = 3, 64, 2048, 1e-3, 0.2
TIKTOK = (9308, 6710, 59_541)
Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Starting embeddings and the rows that a batch needs to the final embeddings of these."""


def synthetic(users: int, items: int, edges: int, seed: int = 0) -> sparse.csr_matrix:
    """Distinct pairs with a long tail of items, as catalogs have."""
    rng = np.random.default_rng(seed)
    pull = rng.permutation(1 / (1 + np.arange(items)) ** 0.7)
    keys = np.zeros(0, dtype=np.int64)
    while len(keys) < edges:
        more = rng.integers(0, users, edges) * items + rng.choice(items, edges, p=pull / pull.sum())
        keys = np.unique(np.concatenate([keys, more]))
    keys = rng.permutation(keys)[:edges]
    return sparse.csr_matrix((np.ones(edges, np.float32), (keys // items, keys % items)), shape=(users, items))


def read(folder: Path | None) -> sparse.csr_matrix:
    """The training pairs of a benchmark folder, or made-up ones of TikTok's size."""
    if folder is None:
        return synthetic(*TIKTOK)
    table = pd.read_parquet(folder / "interactions.parquet")
    train = table[table["split"] == "train"]
    shape = (int(table["user_idx"].max()) + 1, int(table["item_idx"].max()) + 1)
    pairs = (train["user_idx"].to_numpy(), train["item_idx"].to_numpy())
    return sparse.csr_matrix((np.ones(len(train), np.float32), pairs), shape=shape)


def two_way(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Users and items in one numbering, both directions, normalized."""
    return normalized(sparse.csr_matrix(sparse.bmat([[None, likes], [likes.T, None]])))


def variant(name: str, likes: sparse.csr_matrix, device: str) -> tuple[torch.nn.Parameter, torch.Tensor, Forward]:
    """Starting embeddings, the same for all, the row of each node in them, and what makes final ones of them."""
    matrix = two_way(likes)
    n = matrix.shape[0]
    start = 0.1 * torch.randn(n, DIM, generator=torch.Generator().manual_seed(0)).to(device)
    coo = matrix.tocoo()
    index = torch.from_numpy(np.stack([coo.row, coo.col])).long().to(device)
    weight = torch.from_numpy(coo.data).to(device)
    parameter, place = torch.nn.Parameter(start), torch.arange(n, device=device)
    if name in ("ours", "bfloat16"):
        order = close_order(matrix)
        dtype = torch.float32 if name == "ours" else torch.bfloat16
        adjacency = Adjacency.of(matrix[order][:, order], dtype=dtype, device=device)
        at = torch.from_numpy(order).to(device)
        place[at] = torch.arange(n, device=device)
        parameter = torch.nn.Parameter(start[at])
        if name == "ours":
            return parameter, place, lambda x, rows: mean_of_layers(adjacency, x, LAYERS, rows)
        return parameter, place, lambda x, rows: layered(x, rows, lambda y: propagate(adjacency, y))
    if name == "pyg":
        model = LightGCN(n, DIM, LAYERS).to(device)
        model.embedding.weight = parameter
        return parameter, place, lambda _, rows: embedding(rows, model.get_embedding(index))
    if name == "edge index":
        conv = LGConv(normalize=False)
        return parameter, place, lambda x, rows: layered(x, rows, lambda y: conv(y, index, weight))
    whole = torch.sparse_coo_tensor(index, weight, (n, n), check_invariants=True).coalesce()
    return parameter, place, lambda x, rows: layered(x, rows, lambda y: torch.sparse.mm(whole, y))


def layered(x: torch.Tensor, rows: torch.Tensor, product: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Rows of the mean of all layers, one product after the other."""
    total = y = x
    for _ in range(LAYERS):
        y = product(y)
        total = total + y
    return embedding(rows, total / (LAYERS + 1))


class Trainer:
    """Steps of one variant."""

    def __init__(self, name: str, likes: sparse.csr_matrix, loss: str, device: str) -> None:
        self.parameter, self._place, self._forward = variant(name, likes, device)
        self._n_users, self._loss, self._device = likes.shape[0], loss, device
        self._optimizer = torch.optim.Adam([self.parameter], lr=RATE, fused=True)

    def step(self, *batch: torch.Tensor) -> float:
        """One batch of users, liked and other items; its loss before the step."""
        users, liked, other = (part.to(self._device) for part in batch)
        rows = torch.cat([users, self._n_users + liked, self._n_users + other])
        u, i, j = self._forward(self.parameter, self._place[rows]).chunk(3)  # one gather, one scatter of the gradient
        if self._loss == "bpr":
            loss = -logsigmoid((u * (i - j)).sum(1)).mean()
        else:
            loss = torch.nn.functional.cross_entropy(u @ i.T / TEMPERATURE, torch.arange(len(u), device=self._device))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()  # which waits for the device


def batches(likes: sparse.csr_matrix, n: int, seed: int) -> list[tuple[torch.Tensor, ...]]:
    """Pairs in random order with one random other item each, int64 [batch] thrice."""
    rng = np.random.default_rng(seed)
    pairs = likes.tocoo()
    found = []
    for _ in range(n):
        at = rng.integers(0, likes.nnz, min(BATCH, likes.nnz))
        columns = (pairs.row[at], pairs.col[at], rng.integers(0, likes.shape[1], len(at)))
        found.append(tuple(torch.from_numpy(column.astype(np.int64)) for column in columns))
    return found


def compare(
    likes: sparse.csr_matrix, loss: str, device: str, *, rounds: int, steps: int | None, names: list[str]
) -> dict[str, Any]:
    """Epoch times and ratios; asserts that all variants learn the same."""
    trainers = {name: Trainer(name, likes, loss, device) for name in names}
    per_epoch = -(-likes.nnz // BATCH)
    steps = steps or per_epoch
    seconds: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        given = batches(likes, steps, number)
        losses = {}
        for name in names if number % 2 else names[::-1]:
            started, used = time.perf_counter(), time.process_time()
            losses[name] = [trainers[name].step(*batch) for batch in given]
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - started) / steps * per_epoch)
                cpu[name].append((time.process_time() - used) / steps * per_epoch)
        for name in names if number == 0 else []:
            np.testing.assert_allclose(losses[name], losses["ours"], rtol=1e-2 if name == "bfloat16" else 1e-3)
    return {
        name: {
            "epoch_s": statistics.median(seconds[name]),
            "times_ours": statistics.median(a / b for a, b in zip(seconds[name], seconds["ours"], strict=True)),
            "cpu_times_ours": statistics.median(a / b for a, b in zip(cpu[name], cpu["ours"], strict=True)),
        }
        for name in names
    }


def peak_bytes(name: str, likes: sparse.csr_matrix, folder: Path | None, loss: str, device: str) -> int:
    """Growth by training, bytes: of a fresh process, or of what PyTorch holds on CUDA."""
    if device.startswith("cuda"):
        return int(one(name, likes, loss, device)["peak_bytes"])
    command = [sys.executable, __file__, "--one", name, "--loss", loss, "--device", device]
    command += ["--data", str(folder)] if folder is not None else ["--synthetic"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(json.loads(told)["peak_bytes"])


def one(name: str, likes: sparse.csr_matrix, loss: str, device: str) -> dict[str, Any]:
    """Run a few steps and tell their median time, and the growth of this process since the graph was there."""
    cuda = device.startswith("cuda")
    held = 0
    if cuda:
        gc.collect()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(name, likes, loss, device)
    times = []
    reset = Path("/proc/self/clear_refs")
    reset.write_text("5")  # forget the peak so far
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    for batch in batches(likes, 4, 0):
        started = time.perf_counter()
        trainer.step(*batch)
        times.append(time.perf_counter() - started)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    grown = int(peak.split()[1]) * 1024 - before
    return {
        "name": name,
        "edges": likes.nnz,
        "nodes": sum(likes.shape),
        "step_s": statistics.median(times[1:]),
        "peak_bytes": torch.cuda.max_memory_allocated() - held if cuda else grown,
    }


GROWN = {"ours": 10_000_000, "coo": 1_000_000, "edge index": 300_000}
"""Largest graph of each variant in --growth; beyond, an edge index takes gigabytes and COO minutes."""


def growth(sizes: list[int], plot: Path | None) -> list[dict[str, Any]]:
    """Seconds of one step (propagation, BPR, gradient, Adam) and growth of memory, each in a process of its own."""
    rows: list[dict[str, Any]] = []
    for edges in sizes:
        for name in (name for name, most in GROWN.items() if edges <= most):
            command = [sys.executable, __file__, "--one", name, "--edges", str(edges)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            told = rows[-1]
            print(
                f"{edges:>10,} edges {told['nodes']:>9,} nodes  {name:12} {told['step_s']:8.3f} s a step "
                f"{told['peak_bytes'] / 1e6:9.1f} MB",
                flush=True,
            )
    if plot is not None:
        for unit, key in (("seconds a step", "step_s"), ("bytes of training", "peak_bytes")):
            lines = {name: [(row["edges"], row[key]) for row in rows if row["name"] == name] for name in GROWN}
            path = plot.with_stem(f"{plot.stem}-{key.split('_', 1)[0]}")
            log_plot(
                path, "LightGCN by size of the graph", "edges", unit, {n: line for n, line in lines.items() if line}
            )
            print(f"plot  {path}")
    return rows


def main() -> None:
    """Print a table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with interactions.parquet (user_idx, item_idx, split)")
    parser.add_argument("--synthetic", action="store_true", help="made-up pairs of TikTok's size (the default)")
    parser.add_argument("--loss", choices=["bpr", "softmax"], default="bpr")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (not for --growth)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps of a variant in a round; by default a whole epoch")
    parser.add_argument("--growth", action="store_true", help="cost from 1e5 to 1e7 edges instead")
    parser.add_argument("--most", type=int, default=10_000_000, help="largest graph of --growth")
    parser.add_argument("--plot", type=Path, help="draw --growth: growth-step.svg and growth-peak.svg for growth.svg")
    parser.add_argument("--edges", type=int, help=argparse.SUPPRESS)
    takes_json(parser)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if given.growth:
        sizes = [size for size in (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000) if size <= given.most]
        report: dict[str, Any] = {"growth": growth(sizes, given.plot)}
    else:
        size = given.edges
        grown = synthetic(max(size // 20, 100), max(size // 50, 100), size) if size else None
        likes = grown if grown is not None else read(None if given.synthetic else given.data)
        if given.one:
            print(json.dumps(one(given.one, likes, given.loss, given.device)))
            return
        cuda = given.device.startswith("cuda")
        names = ["ours", "coo", "edge index", "pyg", *(["bfloat16"] if cuda else [])]
        if cuda:
            print(torch.cuda.get_device_name())
        print(f"{likes.shape[0]:,} users, {likes.shape[1]:,} items, {likes.nnz:,} pairs; {given.loss}, batch {BATCH}")
        report = compare(likes, given.loss, given.device, rounds=given.rounds, steps=given.steps, names=names)
        for name in names:
            report[name]["peak_bytes"] = peak_bytes(name, likes, given.data, given.loss, given.device)
            told = report[name]
            print(
                f"{name:12} {told['epoch_s']:8.3f} s an epoch {told['times_ours']:6.1f} x ours "
                f"({told['cpu_times_ours']:.1f} x processor time) "
                f"{told['peak_bytes'] / 1e6:8.1f} MB",
                flush=True,
            )
    keep(given, report | {"torch": torch.__version__, "threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
