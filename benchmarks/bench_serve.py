"""Throughput and latency of the service's hot paths beside a bare route that gets 2 KB from the same Redis.

    python benchmarks/bench_serve.py [--items 100000] [--users 100000] [--seconds 5] [--rounds 3] [--json FILE]

Real servers (uvicorn, one worker each, one embedded Redis), loaded from another process. A made-up catalog of that size
is published first; --bundle takes a real one. Every route is asked in turn with the bare route, round by round, and the
ratio of a round is between neighbors, so that it holds while the machine's speed drifts; medians are printed.

- closed loop (as many connections as `--connections`): what a route can do at most, and its ratio to the bare route
- open loop (requests due at random times, at half of the route's own maximum): p50, p95, p99, queueing included
- feed: users with 200 recent events each, and a rule set of five rules where the service knows rules
- a version switch under load: failed requests, and the worst second's p99 beside the p99 before
- how long a worker takes until it is ready, its memory and Redis', and the recall of the nearest-neighbor index
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from bench_recommender import write_shop
from load import load
from redis import Redis

from recsys.bundle import Bundle
from serving.embedded_redis import EmbeddedRedis
from serving.publishing import Publisher

BARE = """
import sys, uvicorn, redis.asyncio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
client = redis.asyncio.Redis.from_url(sys.argv[1])
async def bare(request):
    return Response(await client.get("bench:2kb"), media_type="application/json")
app = Starlette(routes=[Route("/bare", bare)])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""
RECENT = 200
Asked = list[tuple[str, str, str | None]]


@contextmanager
def served(
    command: list[str], port: int, path: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server, once it answers; and after how many seconds it did."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None, f"{command} ended"
            try:
                if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.02)
        yield process, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def told(bundle: Bundle, base: str, n_users: int) -> list[str]:
    """Visitors with many recent events."""
    rng = np.random.default_rng(1)
    users = [f"visitor-{number}" for number in range(n_users)]
    for user in users:
        events = [
            {"user_id": user, "item_id": bundle.items[int(row)], "event_type": "view"}
            for row in rng.integers(0, len(bundle), RECENT)
        ]
        httpx.post(base + "/v1/events", json={"events": events}, timeout=30).raise_for_status()
    return users


def routes(bundle: Bundle, base: str) -> dict[str, Asked]:
    """What is asked of each route."""
    rng = np.random.default_rng(0)
    items = [quote(bundle.items[int(row)], safe="") for row in rng.integers(0, len(bundle), 2000)]
    users = [quote(bundle.users[int(row)], safe="") for row in rng.integers(0, len(bundle.users), 1000)]
    visitors = told(bundle, base, 200)
    events = [
        json.dumps({"events": [{"user_id": f"w{n % 500}", "item_id": bundle.items[int(row)], "event_type": "view"}]})
        for n, row in enumerate(rng.integers(0, len(bundle), 2000))
    ]
    asked: dict[str, Asked] = {
        "similar": [("GET", f"/v1/items/{item}/similar?k=12", None) for item in items],
        "feed": [("GET", f"/v1/users/{user}/feed?k=12", None) for user in visitors],
        "feed_published": [("GET", f"/v1/users/{user}/feed?k=12", None) for user in users],
        "events": [("POST", "/v1/events", event) for event in events],
    }
    words = [
        title for row in range(0, len(bundle), max(1, len(bundle) // 200)) if (title := bundle.display(row)["title"])
    ]
    search: Asked = [("POST", "/v1/search", json.dumps({"words": title, "k": 12})) for title in words]
    if (
        search
        and httpx.post(
            base + search[0][1], content=search[0][2], headers={"content-type": "application/json"}
        ).is_success
    ):
        asked["search"] = search
    return asked


def switched(other: Path, redis_url: str, *, state: Path, port: int, asked: Asked, rate: float) -> dict[str, Any]:
    """A version published and switched to while requests come in."""
    seconds = 12.0
    at: list[float] = []
    start = time.perf_counter()

    def publish() -> None:
        time.sleep(4.0)
        with Redis.from_url(redis_url) as client:
            Publisher(client, state_dir=state).publish(Bundle.open(other))
        at.append(time.perf_counter() - start)

    publishing = threading.Thread(target=publish)
    publishing.start()
    found = load(port, asked, seconds=seconds, connections=64, rate=rate, each=True)
    publishing.join()
    each = np.array(found["each"])
    before = 1000 * np.quantile(each[each[:, 0] < 3.5, 1], 0.99)
    after = each[(each[:, 0] > 4.0)]
    by_second = [after[(after[:, 0] >= second) & (after[:, 0] < second + 1), 1] for second in np.arange(4.0, seconds)]
    worst = 1000 * max(np.quantile(one, 0.99) for one in by_second if len(one) > 20)
    return {
        "requests": found["requests"],
        "failed": found["failed"],
        "published_after_s": round(at[0], 2),
        "p99_before_ms": round(float(before), 2),
        "worst_second_p99_ms": round(float(worst), 2),
        "spike": round(float(worst / before), 2),
    }


def measured(given: argparse.Namespace, work: Path, stack: ExitStack) -> dict[str, Any]:
    """All figures."""
    path = given.bundle
    if path is None:
        path = write_shop(work / "bundle", given.items, given.users, given.dim, 0)
    bundle = Bundle.open(path)
    redis_url = stack.enter_context(EmbeddedRedis(work / "redis")).url
    with Redis.from_url(redis_url) as client:
        empty = client.info("memory")["used_memory"]
        began = time.perf_counter()
        published = Publisher(client, state_dir=work / "state").publish(bundle)
        publish_s = time.perf_counter() - began
        redis_bytes = client.info("memory")["used_memory"] - empty
        client.set("bench:2kb", b"x" * 2048)
    port, bare_port = free_port(), free_port()
    stack.enter_context(served([sys.executable, "-c", BARE, redis_url, str(bare_port)], bare_port, "/bare"))
    serve = [sys.executable, "-m", "recsys", "serve", "--bundle", str(path), "--port", str(port)]
    environment = {
        "RECSYS_REDIS_URL": redis_url,
        "RECSYS_STATE_DIR": str(work / "state"),
        "RECSYS_LOG_REQUESTS": "false",
    }
    process, ready_s = stack.enter_context(served(serve, port, "/ready", **environment))
    base = f"http://127.0.0.1:{port}"
    all_asked = routes(bundle, base)
    bare: Asked = [("GET", "/bare", None)]
    closed = {"seconds": given.seconds, "connections": given.connections}
    figures: dict[str, Any] = {"bare": []} | {name: [] for name in all_asked}
    ratios: dict[str, list[float]] = {name: [] for name in all_asked}
    for number in range(given.rounds):
        for name, asked in all_asked.items():
            limit = load(bare_port, bare, **closed)
            found = load(port, asked, **closed)
            figures["bare"].append(limit)
            figures[name].append(found)
            ratios[name].append(found["rps"] / limit["rps"])
        print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    table = {}
    for name, found in figures.items():
        assert sum(one["failed"] for one in found) == 0, (name, found)
        most = float(np.median([one["rps"] for one in found]))
        asked, at = (bare, bare_port) if name == "bare" else (all_asked[name], port)
        half = load(at, asked, seconds=2 * given.seconds, connections=256, rate=max(1.0, most / 2))
        table[name] = {
            "rps": round(most, 1),
            "ratio_to_bare": round(float(np.median(ratios[name])), 3) if name in ratios else 1.0,
            "half_rate_rps": half["rps"],
            **{key: half[key] for key in ("p50_ms", "p95_ms", "p99_ms", "failed")},
        }
    other = write_other(bundle, work) if given.bundle is None else None
    rate = max(1.0, table["similar"]["rps"] / 2)
    asked = all_asked["similar"]
    switch = switched(other, redis_url, state=work / "state", port=port, asked=asked, rate=rate) if other else None
    return {
        "routes": table,
        "version_switch": switch,
        "catalog": {"items": len(bundle), "users": len(bundle.users), "index": bundle.manifest.index},
        "worker": {"ready_s": round(ready_s, 2), "resident_bytes": resident_bytes(process.pid)},
        "redis": {"bytes": redis_bytes, "publish_s": round(publish_s, 1), "keys": published.n_keys},
        "settings": {"seconds": given.seconds, "rounds": given.rounds, "connections": given.connections, "workers": 1},
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }


def write_other(bundle: Bundle, work: Path) -> Path:
    """The same catalog after another training run."""
    return write_shop(work / "other", len(bundle), len(bundle.users), bundle.item_embeddings.shape[1], 1)


def main() -> None:
    """Measure and print a line a route."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a real bundle in place of the made-up catalog")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-serve-"))
    try:
        with ExitStack() as stack:
            figures = measured(given, work, stack)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1))
    print(f"{'route':16} {'max rps':>9} {'of bare':>8} {'at half: p50':>13} {'p95':>8} {'p99 ms':>8}")
    for name, route in figures["routes"].items():
        print(
            f"{name:16} {route['rps']:9,.0f} {route['ratio_to_bare']:8.2f} {route['p50_ms']:13.2f} "
            f"{route['p95_ms']:8.2f} {route['p99_ms']:8.2f}"
        )
    for name in ("version_switch", "catalog", "worker", "redis", "machine"):
        print(f"{name}: {json.dumps(figures[name])}")


if __name__ == "__main__":
    main()
