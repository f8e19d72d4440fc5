"""Memory, recall and speed of the approximate indexes, by how they keep their vectors, beside the exact search.

    python benchmarks/bench_index.py [BUNDLE] [--items 100000] [--dim 64] [--redis URL] [--json FILE]

With a bundle, its own items and users; else made-up items around 200 tastes. The recall loss of a storage is measured
at the effort (nprobe, efSearch) that float32 needs for recall@100 >= .95, so that only the storage differs. With a
Redis that has vector sets, the vectors are also loaded there, and searched as a service with RECSYS_VECTORS=redis does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np
from figures import keep, takes_json
from redis import Redis

from recsys.bundle import Bundle
from recsys.index import ApproximateIndex, ExactIndex, save_index
from recsys.index_choice import build_index, measure_index, set_effort
from serving.vectors import RedisSearcher, load_vectors

K = 100
KEY = "bench:vectors"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--redis", help="a server with vector sets (Redis 8 or later); a key of it is used and removed")
    takes_json(parser)
    return parser.parse_args()


def main() -> None:
    """Print a line an index."""
    given = arguments()
    rng = np.random.default_rng(0)
    if given.bundle is not None:
        bundle = Bundle.open(given.bundle)
        vectors = np.array(bundle.item_vectors)
        users = np.array(bundle.user_embeddings)
        queries = np.concatenate([users, np.ones((len(users), 1), dtype=np.float32)], axis=1)
    else:
        centers = rng.standard_normal((200, given.dim))
        group = rng.integers(200, size=given.items)
        vectors = (centers[group] + 0.7 * rng.standard_normal((given.items, given.dim))).astype(np.float32)
        taste = rng.integers(200, size=1000)
        queries = (centers[taste] + 0.7 * rng.standard_normal((1000, given.dim))).astype(np.float32)
    queries = queries[rng.permutation(len(queries))[:64]]
    nobody = np.zeros(len(vectors), dtype=np.bool_)
    exact = ExactIndex(vectors)
    truth = [set(exact.search(query, K, nobody)[0].tolist()) for query in queries]
    rows = []
    print(f"{len(vectors):,} items, {vectors.shape[1]} dimensions, recall@{K} over {len(queries)} queries")
    print(
        f"{'index':6} {'storage':8} {'effort':>6} {'recall':>7} {'loss':>7} {'MB':>7} {'of float32':>10} "
        f"{'exact/index ms':>15}"
    )
    for kind in ("ivf", "hnsw"):
        best = measure_index(kind, vectors, queries, k=K)
        if best is None:
            print(f"{kind}: misses recall .95")
            continue
        report = best[1]
        size = 0
        for storage in ("float32", "float16", "int8"):
            searcher = best[0] if storage == "float32" else build_index(kind, vectors, storage)
            set_effort(kind, searcher, report.effort)
            with tempfile.TemporaryDirectory() as folder:
                save_index(searcher, Path(folder) / "index")
                held = (Path(folder) / "index").stat().st_size
            size = size or held
            approximate = ApproximateIndex(vectors, searcher)
            found = [set(approximate.search(query, K, nobody)[0].tolist()) for query in queries]
            recall = float(np.mean([len(a & b) / K for a, b in zip(found, truth, strict=True)]))
            speed = measured_ms(exact, queries, nobody) / measured_ms(approximate, queries, nobody)
            row = {"kind": kind, "storage": storage, "effort": report.effort, "recall": round(recall, 4)}
            row |= {"recall_loss": round(report.recall - recall, 4), "bytes": held, "of_float32": round(held / size, 3)}
            rows.append(row | {"exact_over_index": round(speed, 2)})
            print(
                f"{kind:6} {storage:8} {report.effort:6} {recall:7.4f} {report.recall - recall:7.4f} {held / 1e6:7.1f} "
                f"{held / size:10.2f} {speed:15.2f}"
            )
    if given.redis is not None:
        rows.append(of_redis(given.redis, vectors, queries, truth))
    keep(given, {"indexes": rows, "items": len(vectors), "dim": vectors.shape[1], "k": K, "queries": len(queries)})


def of_redis(url: str, vectors: np.ndarray, queries: np.ndarray, truth: list[set[int]]) -> dict[str, float | str]:
    """Load the vectors into a server, search them there, and print a line."""
    nobody = np.zeros(len(vectors), dtype=np.bool_)
    with Redis.from_url(url, socket_timeout=60) as client:
        began = time.perf_counter()
        load_vectors(client, KEY, vectors)
        loaded_s, held = time.perf_counter() - began, int(cast("int", client.memory_usage(KEY, samples=0)))
        stored = ApproximateIndex(vectors, RedisSearcher(client, KEY, len(vectors)))
        found = [set(stored.search(query, K, nobody)[0].tolist()) for query in queries]
        recall = float(np.mean([len(a & b) / K for a, b in zip(found, truth, strict=True)]))
        took, exactly = measured_ms(stored, queries, nobody), measured_ms(ExactIndex(vectors), queries, nobody)
        client.delete(KEY)
    print(
        f"redis  int8            {recall:7.4f}         {held / 1e6:7.1f}            {exactly / took:15.2f}   "
        f"{took:.2f} ms a search, loaded in {loaded_s:.0f} s"
    )
    return {
        "kind": "redis",
        "storage": "int8",
        "recall": round(recall, 4),
        "bytes": held,
        "ms": round(took, 3),
        "exact_over_index": round(exactly / took, 2),
        "loaded_s": round(loaded_s, 1),
    }


def measured_ms(index: ExactIndex | ApproximateIndex, queries: np.ndarray, nobody: np.ndarray) -> float:
    """Median time of a search."""
    took = []
    for query in queries:
        began = time.perf_counter()
        index.search(query, K, nobody)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))


if __name__ == "__main__":
    main()
