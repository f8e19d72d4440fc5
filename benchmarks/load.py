"""A load generator in a process of its own: `python benchmarks/load.py` reads a JSON order and prints JSON figures.

Closed loop: each connection asks again as soon as it was answered; it tells what a server can do at most. Open loop:
requests are due at times drawn beforehand (Poisson), whether or not earlier ones were answered, and latency counts from
when a request was due, so that queueing shows, as it does to shoppers (Tene's "coordinated omission").

The generator shares the machine with what it measures, so it is bare: plain sockets, bytes made beforehand, no garbage
collection, a few microseconds a request. Connections are open before the clock starts, as shoppers' are, and the
requests of the first `warm_s` seconds are sent and not counted. What the generator itself adds, from when a request was
due and a connection free to when it was sent, is told beside the latencies ("late").
"""

from __future__ import annotations

import gc
import json
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

Asked = Sequence[tuple[Any, ...]]
"""Method, path and JSON body of each request; a fourth member is a request of that form to be sent before it, on the
same connection, and not timed."""
PATIENCE_S = 30.0
"""A request that is not answered for so long has failed, and ends the load."""


class Connection:
    """One keep-alive connection that asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._wire = self._open()
        self._parts: list[bytes] = []
        self._missing = -1  # bytes of an answer that has begun; -1: its length is not known yet
        self._status = 0

    def fileno(self) -> int:
        """As `select` wants it."""
        return self._wire.fileno()

    def send(self, message: bytes) -> None:
        """Ask; the messages are far smaller than a socket's buffer."""
        with suppress(OSError):  # reading tells
            self._wire.sendall(message)

    def answered(self) -> int | None:
        """The status of an answer that is whole, 0 where the connection broke; None where more is to come."""
        try:
            received = self._wire.recv(1 << 18)
        except BlockingIOError:
            return None
        except OSError:
            received = b""
        if not received:
            return 0
        if self._missing < 0:
            self._parts.append(received)
            received = b"".join(self._parts)
            self._parts.clear()
            end = received.find(b"\r\n\r\n")
            if end < 0:
                self._parts.append(received)
                return None
            head = received[: end + 2].lower()
            at = head.index(b"content-length:") + 15
            self._missing = int(head[at : head.index(b"\r\n", at)]) + end + 4
            self._status = int(received[9:12])
        self._missing -= len(received)
        if self._missing > 0:
            return None
        self._missing = -1
        return self._status

    def renew(self) -> None:
        """Another wire in place of one that broke."""
        self._wire.close()
        self._wire, self._missing = self._open(), -1
        self._parts.clear()

    def _open(self) -> socket.socket:
        wire = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setblocking(False)
        return wire


class Load:
    """Connections that ask, and what came of it.

    Args:
        port: of the server.
        messages: what is asked, in turn; all but the last of a tuple go before it and are not timed.
        connections: how many.
    """

    def __init__(self, port: int, messages: list[tuple[bytes, ...]], connections: int) -> None:
        self._messages = messages
        self._poller = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._free: deque[Connection] = deque(Connection(port) for _ in range(connections))
        for one in self._free:
            self._add(one)
        self._asking: dict[Connection, tuple[int, int, float, float, float]] = {}
        """Turn, which of its messages, when it was due, what its latency counts from, when the message was sent."""
        self.due, self.latency, self.late = array("d"), array("d"), array("d")
        self.status = array("i")
        self._start = 0.0

    def closed(self, seconds: float) -> None:
        """Ask without pause."""
        self._start = time.perf_counter()
        turn = 0
        while True:
            while self._free and (now := self._now()) < seconds:
                self._ask(turn, now, now)
                turn += 1
            if not self._asking:
                return
            self._receive(PATIENCE_S)

    def opened(self, due: list[float]) -> None:
        """Ask when it is due, seconds from the start; ends when all is answered."""
        self._start = time.perf_counter()
        turn, free_at = 0, 0.0
        while turn < len(due) or self._asking:
            while self._free and turn < len(due) and due[turn] <= self._now():
                self._ask(turn, due[turn], max(due[turn], free_at))
                turn += 1
            all_ask = not self._free
            self._receive(PATIENCE_S if all_ask or turn == len(due) else due[turn] - self._now())
            if all_ask:
                free_at = self._now()

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _ask(self, turn: int, due: float, could: float) -> None:
        """Take a free connection and send a request, or what goes before it, that could have been sent at `could`."""
        connection = self._free.popleft()
        sent = self._now()
        self.late.append(sent - could)
        self._asking[connection] = (turn, 0, due, due, sent)
        connection.send(self._messages[turn % len(self._messages)][0])

    def _receive(self, most_s: float) -> None:
        """Take in what was answered; wait for it so long at most."""
        if most_s > 0:  # not by the poller itself, which counts in milliseconds
            ready, _, _ = select.select([self._poller], [], [], most_s)
            if not ready and most_s >= PATIENCE_S:
                raise TimeoutError(f"{len(self._asking)} requests were not answered in {PATIENCE_S:g} s")
        for number, _ in self._poller.poll(0):
            connection = self._connections[number]
            status = connection.answered()
            if status is not None:
                self._took(connection, status)

    def _took(self, connection: Connection, status: int) -> None:
        """An answer is whole: go on to what it went before, or note it."""
        if status == 0:
            del self._connections[connection.fileno()]
            connection.renew()
            self._add(connection)
        if connection not in self._asking:  # the server may hang up on a connection that asks nothing
            return
        turn, step, due, counted, sent = self._asking.pop(connection)
        messages, now = self._messages[turn % len(self._messages)], self._now()
        if step + 1 < len(messages) and 200 <= status < 300:
            self._asking[connection] = (turn, step + 1, due, counted + now - sent, now)
            connection.send(messages[step + 1])
            return
        self.due.append(due)
        self.latency.append(now - counted)
        self.status.append(status)
        self._free.append(connection)

    def _add(self, connection: Connection) -> None:
        self._connections[connection.fileno()] = connection
        self._poller.register(connection, select.EPOLLIN)


def message(method: str, path: str, body: str | None) -> bytes:
    """One request as bytes."""
    content = (body or "").encode()
    kind = "content-type: application/json\r\n" if body is not None else ""
    return f"{method} {path} HTTP/1.1\r\nhost: bench\r\n{kind}content-length: {len(content)}\r\n\r\n".encode() + content


def figures(done: Load, seconds: float, warm_s: float) -> dict[str, Any]:
    """Throughput and latencies of what was due after the warming up."""
    counted = np.array(done.due) >= warm_s
    taken_ms, status = 1000 * np.array(done.latency)[counted], np.array(done.status)
    p50, p95, p99 = np.percentile(taken_ms, [50, 95, 99]).round(3).tolist()
    return {
        "rps": round(len(taken_ms) / seconds, 1),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": round(float(taken_ms.max()), 3),
        "late_p99_ms": round(float(1000 * np.percentile(done.late, 99)), 3),
        "requests": len(status),
        "failed": int(((status < 200) | (status >= 300)).sum()),
    }


def load(port: int, asked: Asked, **order: Any) -> dict[str, Any]:
    """Run the generator in another process.

    Args:
        port: of the server on this machine.
        asked: the requests; they are sent in turn.
        order: "seconds", "connections", and for an open loop "rate" (requests a second) and "warm_s" (seconds before
            those that count); "each" also returns when each request was due, its latency and its status.
    """
    command = [sys.executable, str(Path(__file__))]
    text = json.dumps({"port": port, "asked": asked, **order})
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Do what standard input orders."""
    order = json.load(sys.stdin)
    messages = [tuple(message(*one) for one in (*asked[3:], asked[:3])) for asked in order["asked"]]
    seconds, warm_s, rate = order["seconds"], order.get("warm_s", 0.0), order.get("rate")
    done = Load(order["port"], messages, order["connections"])
    gc.disable()
    if rate is None:
        done.closed(seconds)
    else:
        gaps = np.random.default_rng(0).exponential(1 / rate, int(rate * (seconds + warm_s)))
        done.opened(np.cumsum(gaps).tolist())
    found = figures(done, seconds, warm_s)
    if order.get("each"):
        found["each"] = list(zip(done.due, done.latency, done.status, strict=True))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
