"""What it costs to build a graph on disk, to add a day to it, and to sample from it, by number of edges.

    .venv/bin/python benchmarks/bench_graph.py --json graph.json
    .venv/bin/python benchmarks/bench_graph.py --most 1000000

Each size runs in a process of its own: events are made up piece by piece (a long tail of items), so that the process
never holds them all. Told are seconds, the size on disk, and how much the process grew, at the peak, over what it held
before the first event (the names of its nodes). A day is a hundredth of the events. The sampler draws [10, 5] neighbors
of 1,024 users a batch; told are edges a second, against a loop over nodes at the smallest size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figures import keep, takes_json

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig
from graph.knowledge_graph import KnowledgeGraph

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
PIECE = 250_000


def pieces(users: Vocabulary, items: Vocabulary, n_events: int, seed: int) -> Iterator[Interactions]:
    """Events in order of time, some at once."""
    n_users, n_items = len(users), len(items)
    rng = np.random.default_rng(seed)
    for start in range(0, n_events, PIECE):
        n = min(PIECE, n_events - start)
        yield Interactions(
            users,
            items,
            rng.integers(0, n_users, n),
            (n_items * rng.random(n) ** 3).astype(np.int64),
            np.full(n, "view", dtype=object),
            np.ones(n, dtype=np.float32),
            1.7e9 + (start + np.arange(n)) * 8.64e6 / n_events,
        )


def peak() -> int:
    """Most memory this process has held since the last reset, bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def reset() -> int:
    """Forget the peak so far; bytes held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one(n_events: int, *, chunk_edges: int) -> dict[str, Any]:
    """Costs at one size."""
    from graph.store.stored import StoredGraph
    from graph.store.update import add_events
    from graph.store.write import write_graph

    n_users, n_items = max(n_events // 20, 100), max(n_events // 100, 100)
    users = Vocabulary(tuple(f"u{i}" for i in range(n_users)))
    items = Vocabulary(tuple(f"i{i}" for i in range(n_items)))
    config = GraphConfig(half_life_days=30)
    empty = KnowledgeGraph.of({"user": users, "item": items}, {})
    told: dict[str, Any] = {"events": n_events, "nodes": n_users + n_items}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "graph"
        before, started = reset(), time.perf_counter()
        stored = write_graph(
            place, empty, events=pieces(users, items, n_events, 0), config=config, chunk_edges=chunk_edges
        )
        told["build_s"] = time.perf_counter() - started
        told["build_bytes"] = peak() - before
        told["edges"] = next(iter(stored.relations.values())).n_edges
        told["disk_bytes"] = sum(file["bytes"] for file in stored.manifest["files"].values())
        started = time.perf_counter()
        again = StoredGraph.open(place)
        again.relations["user", "view", "item"].forward.of(7)
        told["open_ms"] = 1000 * (time.perf_counter() - started)
        day = list(pieces(users, items, max(n_events // 100, 1), 1))
        before, started = reset(), time.perf_counter()
        for piece in day:
            again = add_events(again, piece, chunk_edges=chunk_edges)
        told["day_s"] = time.perf_counter() - started
        told["day_bytes"] = peak() - before
        told |= sampling(again)
    return told


def sampling(stored: Any) -> dict[str, float]:
    """Edges a second of our sampler, and of a loop where the graph is small."""
    import torch

    from graph.pyg import NodeLoader
    from graph.sampling.sampler import GraphSampler

    torch.set_num_threads(1)
    data = stored.load().to_hetero()
    sampler = GraphSampler(data, [10, 5])
    n_users = stored.n_nodes["user"]
    seeds = torch.randperm(n_users, generator=torch.Generator().manual_seed(0))[: 1024 * 8]
    edges, times = [], []
    loader = NodeLoader(data, sampler, input_nodes=("user", seeds), batch_size=1024)
    started = time.perf_counter()
    for batch in loader:
        edges.append(sum(batch[kind].edge_index.shape[1] for kind in batch.edge_types))
        times.append(time.perf_counter() - started)
        started = time.perf_counter()
    told = {"sampled_edges_per_s": float(np.median([n / s for n, s in zip(edges, times, strict=True)]))}
    if stored.relations["user", "view", "item"].n_edges < 200_000:
        told["loop_edges_per_s"] = loop(data, seeds[:1024].tolist())
        told["sampler_over_loop"] = told["sampled_edges_per_s"] / told["loop_edges_per_s"]
    return told


def loop(data: Any, seeds: list[int]) -> float:
    """The same by a loop over nodes with numpy, edges a second."""
    rng = np.random.default_rng(0)
    into: dict[str, list[list[int]]] = {}
    for source, relation, target in data.edge_types:
        listed: list[list[int]] = [[] for _ in range(data[target].num_nodes)]
        for s, d in zip(*data[source, relation, target].edge_index.tolist(), strict=True):
            listed[d].append(s)
        into[target] = listed
    other = {"user": "item", "item": "user"}
    known: dict[str, set[int]] = {"user": set(seeds), "item": set()}
    frontier, n, kind = list(seeds), 0, "user"
    started = time.perf_counter()
    for k in (10, 5):
        new: list[int] = []
        for node in frontier:
            near = into[kind][node]
            for found in rng.choice(near, size=min(k, len(near)), replace=False).tolist() if near else ():
                n += 1
                if found not in known[other[kind]]:
                    known[other[kind]].add(found)
                    new.append(found)
        frontier, kind = new, other[kind]
    return n / (time.perf_counter() - started)


def main() -> None:
    """Print a table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest number of events")
    parser.add_argument("--chunk", type=int, default=1_000_000, help="edges sorted in memory at once")
    takes_json(parser)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, chunk_edges=given.chunk)))
        return
    rows = []
    for size in SIZES:
        if size > given.most:
            break
        command = [sys.executable, __file__, "--one", str(size), "--chunk", str(given.chunk)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"{row['events']:>10,} events {row['edges']:>10,} edges  build {row['build_s']:6.1f} s "
            f"+{row['build_bytes'] / 1e6:5.0f} MB  disk {row['disk_bytes'] / 1e6:5.0f} MB"
            f"  open {row['open_ms']:5.1f} ms"
            f"  day {row['day_s']:5.1f} s +{row['day_bytes'] / 1e6:5.0f} MB"
            f"  sampler {row['sampled_edges_per_s'] / 1e6:.2f} M edges/s"
            + (f" ({row['sampler_over_loop']:.1f} times a plain loop)" if "sampler_over_loop" in row else ""),
            flush=True,
        )
    keep(given, {"rows": rows})


if __name__ == "__main__":
    main()
