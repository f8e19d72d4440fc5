"""A load generator in a process of its own: `python benchmarks/load.py` reads a JSON order and prints JSON figures.

Closed loop: each connection asks again as soon as it was answered; it tells what a server can do at most. Open loop:
requests are due at times drawn beforehand (Poisson), whether or not earlier ones were answered, and latency counts from
when a request was due, so that queueing shows, as it does to shoppers (Tene's "coordinated omission").
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Asked = Sequence[tuple[Any, ...]]
"""Method, path and JSON body of each request; a fourth member is a request of that form to be sent before it, on the
same connection, and not timed."""
Answered = tuple[float, float, int]
"""When it was due or sent (s since the start), latency in s, status (0: the connection broke)."""


class Connection:
    """One keep-alive connection that asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, message: bytes) -> int:
        """Send one request and read its answer; the status, 0 where the connection broke."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
            return int(head[9:12])
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def message(method: str, path: str, body: str | None) -> bytes:
    """One request as bytes."""
    content = (body or "").encode()
    kind = "content-type: application/json\r\n" if body is not None else ""
    return f"{method} {path} HTTP/1.1\r\nhost: bench\r\n{kind}content-length: {len(content)}\r\n\r\n".encode() + content


async def timed(connection: Connection, messages: tuple[bytes, ...]) -> tuple[float, int]:
    """Ask, after what is to be asked before it: seconds of the last, and a status that is wrong if one of them is."""
    *before, last = messages
    for one in before:
        if not 200 <= (status := await connection.ask(one)) < 300:
            return 0.0, status
    began = time.perf_counter()
    status = await connection.ask(last)
    return time.perf_counter() - began, status


async def closed(port: int, messages: list[tuple[bytes, ...]], *, seconds: float, connections: int) -> list[Answered]:
    """Ask without pause."""
    start = time.perf_counter()
    answered: list[Answered] = []

    async def client(first: int) -> None:
        connection = Connection(port)
        turn = first
        while (began := time.perf_counter()) - start < seconds:
            took, status = await timed(connection, messages[turn % len(messages)])
            answered.append((began - start, took, status))
            turn += connections
        connection.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    return answered


async def opened(
    port: int, messages: list[tuple[bytes, ...]], *, seconds: float, connections: int, rate: float
) -> list[Answered]:
    """Ask when it is due."""
    rng = np.random.default_rng(0)
    due = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    answered: list[Answered] = []
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(Connection(port))
    start = time.perf_counter()

    async def one(number: int, at: float) -> None:
        connection = await free.get()
        waited = time.perf_counter() - start - at
        took, status = await timed(connection, messages[number % len(messages)])
        answered.append((at, waited + took, status))
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number, at in enumerate(due.tolist()):
            wait = start + at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.create_task(one(number, at))
    return answered


def figures(answered: list[Answered], seconds: float) -> dict[str, Any]:
    """Throughput and latencies."""
    taken_ms = 1000 * np.array([latency for _, latency, _ in answered])
    failed = sum(not 200 <= status < 300 for *_, status in answered)
    p50, p95, p99 = np.percentile(taken_ms, [50, 95, 99]).round(3).tolist()
    return {
        "rps": round(len(answered) / seconds, 1),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": round(float(taken_ms.max()), 3),
        "requests": len(answered),
        "failed": failed,
    }


def load(port: int, asked: Asked, **order: Any) -> dict[str, Any]:
    """Run the generator in another process.

    Args:
        port: of the server on this machine.
        asked: the requests; they are sent in turn.
        order: "seconds", "connections", and for an open loop "rate" (requests a second); "each" also returns when each
            request was due, its latency and its status.
    """
    command = [sys.executable, str(Path(__file__))]
    text = json.dumps({"port": port, "asked": asked, **order})
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Do what standard input orders."""
    order = json.load(sys.stdin)
    messages = [tuple(message(*one) for one in (*asked[3:], asked[:3])) for asked in order["asked"]]
    given = {"seconds": order["seconds"], "connections": order["connections"]}
    if "rate" in order:
        answered = asyncio.run(opened(order["port"], messages, rate=order["rate"], **given))
    else:
        answered = asyncio.run(closed(order["port"], messages, **given))
    found = figures(answered, order["seconds"])
    if order.get("each"):
        found["each"] = answered
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
