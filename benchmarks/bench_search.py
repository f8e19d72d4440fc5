"""Latency and queries a second of each kind of search over HTTP, beside a route that does nothing.

    python benchmarks/bench_search.py OUT/bundle [--items 100000] [--clients 2] [--seconds 5] [--json FILE]

The server is a process of its own (one worker, no Redis, encoders opened at start), the clients keep-alive connections
in this one, so on a small machine they take a share of what they measure. Every query is another one. "lexical" asks
the same bundle written without networks and vectors.

With --items, a catalog of that size is made from the bundle's: titles are words of two titles, vectors lie between
those of two items, with some noise, so that a search takes as long as in a real shop of that size, though nothing can
be said of what it finds; there are no pictures, only their vectors.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from figures import keep, takes_json
from PIL import Image, ImageDraw

from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle
from recsys.search.known_items import without_words

Request = tuple[str, str, bytes]
"""Method, path, body."""


def rewritten(bundle: Bundle, path: Path, *, n_items: int, networks: bool) -> Bundle:
    """A bundle of n items after this one's; as it is, but for the lists nobody asks for, where n is its own number."""
    rng = np.random.default_rng(0)
    rows = np.arange(n_items) % len(bundle)
    fresh = n_items > len(bundle)

    def noisy(vectors: np.ndarray) -> np.ndarray:
        if not fresh or not vectors.shape[1]:
            return np.array(vectors[rows])
        moved = vectors[rows] + 0.7 * vectors[rng.integers(len(vectors), size=n_items)]
        moved += 0.1 * rng.standard_normal(moved.shape, dtype=np.float32) / np.sqrt(vectors.shape[1])
        moved[~np.any(vectors[rows], axis=1)] = 0
        return (moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def display() -> Iterator[dict[str, Any]]:
        for row, source in enumerate(rows.tolist()):
            shown = bundle.display(source)
            if fresh:
                other = bundle.display(int(rng.integers(len(bundle))))["title"] or ""
                shown["title"] = f"{without_words(shown['title'] or 'x', 2, rng)} {without_words(other or 'y', 3, rng)}"
            yield {**shown, "item_id": f"s{row}"}

    nothing = np.full((n_items, 1), -1), np.zeros((n_items, 1), dtype=np.float32)
    folder = bundle.path / "onnx"
    written = write_bundle(
        path,
        items=Vocabulary(tuple(f"s{row}" for row in range(n_items))),
        users=Vocabulary(("somebody",)),
        item_embeddings=noisy(np.asarray(bundle.item_embeddings)),
        user_embeddings=np.asarray(bundle.item_embeddings[:1]),
        text_vectors=noisy(np.asarray(bundle.text_vectors)[:, : None if networks else 0]),
        image_vectors=noisy(np.asarray(bundle.image_vectors)[:, : None if networks else 0]),
        popularity=np.asarray(bundle.popularity)[rows],
        match_scores=np.asarray(bundle.match_scores)[rows],
        display=display(),
        seen=(np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64)),
        similar_idx=nothing[0],
        similar_score=nothing[1],
        neighbors={},
        co_idx=nothing[0],
        co_count=np.zeros((n_items, 1), dtype=np.int32),
        config={},
        metrics={},
        fingerprints={},
        onnx={file.name: file for file in folder.iterdir()} if networks else None,
    )
    return Bundle.open(written, verify=False)


@contextmanager
def served(bundle: Bundle, folder: Path) -> Iterator[tuple[int, int]]:
    """A service that answers from a bundle; its port and process id."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if "REDIS_URL" not in name}
    environment |= {"RECSYS_BUNDLE": str(bundle.path), "RECSYS_STATE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    environment |= {"RECSYS_LOG_REQUESTS": "false"}
    command = [sys.executable, "-m", "uvicorn", "serving.tenants:create_service_from_environment", "--factory"]
    service = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning", "--no-access-log"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            assert service.poll() is None, "the service ended"
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port, service.pid
    finally:
        service.terminate()
        service.wait(30)


def cpu_s(pid: int) -> float:
    """CPU time of a process so far: what a query costs, however busy the machine is with other things."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def requests(bundle: Bundle, n: int) -> dict[str, list[Request]]:
    """Different queries of each kind."""
    rng = np.random.default_rng(1)
    titles = [bundle.display(int(row))["title"] or "x" for row in rng.integers(0, len(bundle), n)]
    words = [without_words(title, int(rng.integers(0, 3)), rng) for title in titles]
    pictures = [base64.b64encode(drawn(rng)).decode() for _ in range(min(n, 200))]
    name, values = max(bundle.attribute_counts.items(), key=lambda one: len(one[1]))
    common = sorted(values, key=lambda value: -values[value])[:20]

    def searches(*queries: dict[str, Any]) -> list[Request]:
        return [("POST", "/v1/search", json.dumps(query).encode()) for query in queries]

    return {
        "/health (does nothing)": [("GET", "/health", b"")],
        "words": searches(*({"words": text} for text in words)),
        "words, filtered": searches(
            *({"words": text, "filters": {name: [common[at % len(common)]]}} for at, text in enumerate(words))
        ),
        "words, personalized": searches(*({"words": text, "user_id": "somebody"} for text in words)),
        "like an item": searches(
            *({"like": {"items": [bundle.items[int(row)]]}} for row in rng.integers(0, len(bundle), n))
        ),
        "picture": searches(*({"picture": data} for data in pictures)),
        "words and picture": searches(
            *({"words": words[at % len(words)], "picture": data} for at, data in enumerate(pictures))
        ),
    }


def drawn(rng: np.random.Generator) -> bytes:
    """A JPEG of 480 x 640 pixels, as a telephone sends it after scaling."""
    image = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize(
        (480, 640), Image.Resampling.BICUBIC
    )
    x, y = (int(value) for value in rng.integers(0, 240, 2))
    ImageDraw.Draw(image).ellipse((x, y, x + 200, y + 300), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


async def client(port: int, asked: list[Request], turn: int, seconds: float, latencies_s: list[float]) -> None:
    """One connection that asks without pause."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        method, path, body = asked[turn % len(asked)]
        turn += 1
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\ncontent-type: application/json\r\n"
        began = time.perf_counter()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        fields = dict(line.split(b": ", 1) for line in answer.split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        latencies_s.append(time.perf_counter() - began)
    writer.close()


async def measure(
    port: int, asked: list[Request], *, seconds: float, clients: int, beside: list[Request] | None = None
) -> dict[str, float]:
    """Latencies in ms and queries a second, of `asked` alone where another connection asks something else beside."""
    latencies_s: list[float] = []
    step = max(1, len(asked) // clients)
    began = time.perf_counter()
    asking = [client(port, asked, place * step, seconds, latencies_s) for place in range(clients)]
    await asyncio.gather(*asking, *([client(port, beside, 0, seconds, [])] if beside else []))
    took_s = time.perf_counter() - began
    p50, p99 = np.percentile(1000 * np.array(latencies_s), [50, 99])
    n = len(latencies_s)
    return {"queries": n, "queries_per_s": n / took_s, "p50_ms": float(p50), "p99_ms": float(p99)}


def main() -> None:
    """Measure and print one line a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--items", type=int, help="size of the catalog; default: the bundle's")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    takes_json(parser)
    given = parser.parse_args()
    source = Bundle.open(given.bundle, verify=False)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        n_items = given.items or len(source)
        began = time.perf_counter()
        whole = rewritten(source, folder / "whole", n_items=n_items, networks=True)
        written_s = time.perf_counter() - began
        report = json.loads((whole.path / "search/search.json").read_bytes())
        print(f"{n_items:,} items, {given.clients} clients, {given.seconds:g} s a kind; written in {written_s:.0f} s")
        for space, index in report["indexes"].items():
            print(f"  index of {space}: {index}")
        print(f"{'kind':28} {'queries/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms':>8} {'of /health':>10}")
        asked = requests(whole, 2000)
        bare = rewritten(source, folder / "bare", n_items=n_items, networks=False)
        for bundle, kinds in ((whole, asked), (bare, {"lexical": asked["words"]})):
            with served(bundle, folder / "state") as (port, pid):
                if "picture" in kinds:
                    idle, busy = kinds["/health (does nothing)"], kinds["picture"]
                    found = asyncio.run(measure(port, idle, seconds=given.seconds, clients=1, beside=busy))
                    results["/health beside pictures"] = found
                    print(f"beside picture searches /health takes {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f}")
                for kind, queries in kinds.items():
                    before_s = cpu_s(pid)
                    found = asyncio.run(measure(port, queries, seconds=given.seconds, clients=given.clients))
                    found["cpu_ms"] = 1000 * (cpu_s(pid) - before_s) / found["queries"]
                    results[kind] = found
                    nothing = results["/health (does nothing)"]
                    found["ratio_to_health"] = found["queries_per_s"] / nothing["queries_per_s"]
                    numbers = f"{found['p50_ms']:8.2f} {found['p99_ms']:8.2f} {found['cpu_ms']:8.2f}"
                    numbers += f" {found['ratio_to_health']:10.3f}"
                    print(f"{kind:28} {found['queries_per_s']:10,.0f} {numbers}")
        keep(given, {"items": n_items, "indexes": report["indexes"], "kinds": results})


if __name__ == "__main__":
    main()
