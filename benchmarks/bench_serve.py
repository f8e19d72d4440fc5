"""Requests a second and latency of the service's hot paths beside a route that does nothing.

    python benchmarks/bench_serve.py OUT/bundle [--seconds 5] [--clients 8]

Starts `recsys serve` with the embedded Redis on a folder of its own, with one worker; the clients are keep-alive
connections in this process, so on a small machine they take a share of what they measure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np

from recsys.bundle import Bundle

SERVE = "import typer; from serving.commands.serve import serve; typer.run(serve)"


async def client(port: int, paths: list[str], seconds: float, latencies_s: list[float]) -> None:
    """One connection that asks without pause."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = time.perf_counter() + seconds
    turn = 0
    while time.perf_counter() < end:
        path = paths[turn % len(paths)]
        turn += 1
        began = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        latencies_s.append(time.perf_counter() - began)
    writer.close()


async def measure(port: int, paths: list[str], *, seconds: float, clients: int) -> list[float]:
    """Latencies in seconds of all requests."""
    latencies_s: list[float] = []
    await asyncio.gather(*(client(port, paths, seconds, latencies_s) for _ in range(clients)))
    return latencies_s


def main() -> None:
    """Measure and print one line a route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    rng = np.random.default_rng(0)
    items = [quote(bundle.items[int(row)], safe="") for row in rng.integers(0, len(bundle.items), 500)]
    users = [quote(bundle.users[int(row)], safe="") for row in rng.integers(0, len(bundle.users), 250)]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "RECSYS_STATE_DIR": state, "RECSYS_LOG_REQUESTS": "false"}
        command = [sys.executable, "-c", SERVE, "--bundle", str(given.bundle), "--port", str(port)]
        service = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            base = f"http://127.0.0.1:{port}"
            while True:
                assert service.poll() is None, "the service ended"
                try:
                    if httpx.get(base + "/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            live = [f"visitor-{number}" for number in range(250)]
            events = [
                {"user_id": user, "item_id": bundle.items[int(row)], "event_type": "view"}
                for user in live
                for row in rng.integers(0, len(bundle.items), 2)
            ]
            httpx.post(base + "/v1/events", json={"events": events}).raise_for_status()
            print(f"{len(bundle.items):,} items, {given.clients} clients, {given.seconds:g} s a route")
            print(f"{'route':28} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
            for name, paths in (
                ("/health (does nothing)", ["/health"]),
                ("similar, k=12", [f"/v1/items/{item}/similar?k=12" for item in items]),
                ("feed, published list", [f"/v1/users/{user}/feed?k=12" for user in users]),
                ("feed, live behavior", [f"/v1/users/{user}/feed?k=12" for user in live]),
            ):
                latencies_ms = 1000 * np.array(
                    asyncio.run(measure(port, paths, seconds=given.seconds, clients=given.clients))
                )
                p50, p99 = np.percentile(latencies_ms, [50, 99])
                print(f"{name:28} {len(latencies_ms) / given.seconds:10,.0f} {p50:8.2f} {p99:8.2f}")
        finally:
            service.terminate()
            service.wait(30)


if __name__ == "__main__":
    main()
