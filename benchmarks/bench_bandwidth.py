"""How much of the memory's bandwidth the propagation reaches, on a CPU or on CUDA.

    .venv/bin/python benchmarks/bench_bandwidth.py                          # CUDA where there is one
    .venv/bin/python benchmarks/bench_bandwidth.py --device cpu --edges 1000000

The limit is measured in the same run: copying a large array on the same device moves its bytes twice. A product A x
must at least read the matrix and x once and write the result once ("least"); with no cache at all it would read a row
of x for each entry ("rows"). Told is each of the two over the time of a product, as a share of the limit; "rows" over 1
means that the cache does its work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from bench_train import DIM, synthetic, two_way
from figures import keep, takes_json

from graph.csr import Adjacency, close_order


def seconds(work: Callable[[], object], *, cuda: bool, rounds: int = 15) -> float:
    """Median seconds of some work, the device waited for."""
    times = []
    for number in range(rounds + 3):
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        if number >= 3:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def copy_bandwidth(device: str) -> float:
    """Bytes a second that a copy moves: read and written."""
    numbers = torch.rand(1 << 26, device=device)
    target = torch.empty_like(numbers)
    return 2 * numbers.nbytes / seconds(lambda: target.copy_(numbers), cuda=device.startswith("cuda"))


def main() -> None:
    """Print a line for each precision and, where asked, write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--edges", type=int, default=3_000_000)
    parser.add_argument("--dim", type=int, default=DIM)
    takes_json(parser)
    given = parser.parse_args()
    matrix = two_way(synthetic(given.edges // 20, given.edges // 50, given.edges))
    order = close_order(matrix)
    limit = copy_bandwidth(given.device)
    print(f"{given.device}: a copy moves {limit / 1e9:.1f} GB a second", flush=True)
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        if dtype == torch.bfloat16 and not given.device.startswith("cuda"):
            print("bfloat16: PyTorch has no such product on a CPU")
            continue
        adjacency = Adjacency.of(matrix[order][:, order], dtype=dtype, device=given.device)
        x = torch.rand(len(adjacency), given.dim, device=given.device).to(dtype)
        taken = seconds(lambda a=adjacency, x=x: a.matrix @ x, cuda=given.device.startswith("cuda"))
        entry = adjacency.matrix.values().element_size() + adjacency.matrix.col_indices().element_size()
        in_matrix = adjacency.n_entries * entry + (len(adjacency) + 1) * adjacency.matrix.crow_indices().element_size()
        least = in_matrix + 2 * x.nbytes
        by_rows = in_matrix + x.nbytes + adjacency.n_entries * given.dim * x.element_size()
        row = {
            "dtype": str(dtype).removeprefix("torch."),
            "product_s": taken,
            "copy_bytes_per_s": limit,
            "share_least": least / taken / limit,
            "share_rows": by_rows / taken / limit,
        }
        rows.append(row)
        print(
            f"{row['dtype']}: {1000 * taken:.2f} ms a product of {adjacency.n_entries:,} entries by {given.dim}; "
            f"{row['share_least']:.2f} of the copy's bandwidth at least, {row['share_rows']:.2f} counting each row read"
        )
    keep(given, {"rows": rows})


if __name__ == "__main__":
    main()
