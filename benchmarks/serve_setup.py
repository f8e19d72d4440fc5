"""What the benchmark of the service runs on: a made-up shop published in a Redis of its own, and the servers.

The shop is kept in a folder, bundles, Redis' data and all, so that only the first run on it waits for the making.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from bench_recommender import write_shop
from redis import Redis

from recsys.bundle import Bundle
from serving.keys import Keys
from serving.publish_lock import PublishLock
from serving.publishing import Publisher
from serving.versions import Versions

BARE = """
import gc, sys, uvicorn, redis.asyncio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
pool = redis.asyncio.BlockingConnectionPool.from_url(sys.argv[1], max_connections=64, timeout=5)
client = redis.asyncio.Redis.from_pool(pool)
async def bare(request):
    return Response(await client.get("bench:2kb"), media_type="application/json")
app = Starlette(routes=[Route("/bare", bare)])
gc.freeze()
gc.set_threshold(700, 10, 1000)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""
RECENT, VISITORS = 200, 500
RULES: list[dict[str, Any]] = [
    {"name": "not these brands", "hide": 'brand in ("brand 1", "brand 2", "brand 3")'},
    {"name": "own brand first", "boost": 'brand = "brand 10"', "factor": 3},
    {"name": "dear things last", "bury": "price > 400", "factor": 2},
    {"name": "two of a brand", "cap": "brand", "at_most": 2},
    {"name": "the hero", "pin": "sku-5", "slot": 4},
]
FEED_ONLY = {"scenarios": ["feed"]}


@dataclass(frozen=True)
class Shop:
    """A published catalog.

    Args:
        path: its bundle, the current version.
        other: a bundle of the same catalog after another training run, published before it; None: there is none.
        state: where the files of published bundles are kept.
        about: how publishing went.
    """

    path: Path
    other: Path | None
    state: Path
    about: dict[str, Any]

    def switch(self, client: Redis, path: Path) -> None:
        """Make one of the two the current version, in one command."""
        lock = PublishLock(client, Keys().publishing)
        with lock.held():
            self._versions(client).switch(Bundle.open(path, verify=False).version, lock)

    def holds(self, client: Redis, path: Path) -> bool:
        """Whether Redis holds all of a bundle."""
        return self._versions(client).intact(Bundle.open(path, verify=False))

    def _versions(self, client: Redis) -> Versions:
        return Versions(client, self.state.absolute() / "bundles", Keys())


def made_up(folder: Path, n_items: int, n_users: int, dim: int) -> Path:
    """The folder of a made-up shop, written where it is not there yet: `bundle`, and `other`."""
    folder = folder / f"{n_items}-{n_users}-{dim}"
    for seed, name in enumerate(("bundle", "other")):
        if not (folder / name / "manifest.json").exists():
            write_shop(folder / name, n_items, n_users, dim, seed, text_dim=dim, ranked=True)
    return folder


def published(folder: Path, given: Path | None, client: Redis) -> Shop:
    """A shop's bundles in Redis.

    Args:
        folder: where the made-up shop lies, or what belongs to a given bundle.
        given: a real bundle; None: the made-up ones.
        client: the Redis.
    """
    path, other = given or folder / "bundle", None if given is not None else folder / "other"
    said = folder / "published.json"
    shop = Shop(path, other, folder / "state", {})
    every = [one for one in (other, path) if one is not None]
    if not (said.exists() and all(shop.holds(client, one) for one in every)):
        for one in every:
            empty, began = client.info("memory")["used_memory"], time.perf_counter()
            done = Publisher(client, state_dir=shop.state).publish(Bundle.open(one))
            about = {
                "publish_s": round(time.perf_counter() - began, 1),
                "keys": done.n_keys,
                "predicted_bytes": done.predicted_bytes,
                "bytes": client.info("memory")["used_memory"] - empty,
            }
        said.write_text(json.dumps(about))
    shop.switch(client, path)
    client.set("bench:2kb", b"x" * 2048)
    return Shop(path, other, shop.state, json.loads(said.read_text()))


def undisturbed(client: Redis) -> None:
    """Have Redis rewrite its append-only file now, and not when it has doubled: that takes a core for some seconds, and
    would fall into the figures of one route or another.
    """
    client.config_set("auto-aof-rewrite-percentage", 0)
    for ask in (client.ping, client.bgrewriteaof):  # one may be under way
        ask()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.1)


def visited(bundle: Bundle, base: str, client: Redis) -> list[str]:
    """Visitors with many recent events."""
    rng = np.random.default_rng(1)
    visitors = [f"visitor-{number}" for number in range(VISITORS)]
    for visitor in visitors:
        if client.llen(Keys().recent(visitor)) < RECENT:
            events = [
                {"user_id": visitor, "item_id": bundle.items[int(row)], "event_type": "view"}
                for row in rng.integers(0, len(bundle), RECENT)
            ]
            httpx.post(base + "/v1/events", json={"events": events}, timeout=30).raise_for_status()
    return visitors


def newcomers(client: Redis, numbers: range) -> list[str]:
    """Users of whom a worker has not heard, each with the recent events of one of the visitors."""
    keys, names = Keys(), [f"newcomer-{number}" for number in numbers]
    pipeline = client.pipeline(transaction=False)
    for number, name in zip(numbers, names, strict=True):
        like = f"visitor-{number % VISITORS}"
        for key in (keys.recent, keys.seen, keys.stamp):
            pipeline.copy(key(like), key(name), replace=True)
    pipeline.execute()
    return names


def gone(client: Redis, names: list[str]) -> None:
    """Forget newcomers, in Redis' own time."""
    keys = Keys()
    for name in names:
        client.unlink(keys.recent(name), keys.seen(name), keys.stamp(name))


def ruled(base: str, user_id: str) -> None:
    """The rules of the feed, once they hold."""
    rules = {"rules": [rule | {"when": FEED_ONLY} for rule in RULES]}
    put = httpx.put(base + "/v1/rules", json=rules, timeout=60)
    put.raise_for_status()
    while not httpx.get(f"{base}/v1/users/{user_id}/feed", timeout=30).json()["rules_version"]:
        time.sleep(0.1)


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


@contextmanager
def bare_route(redis_url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server that is the limit, and its port."""
    port = free_port()
    with served([sys.executable, "-c", BARE, redis_url, str(port)], port, "/bare") as (process, _):
        yield process, port


@contextmanager
def service(shop: Shop, redis_url: str, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """The service's process, its port, and how long it took until it was ready."""
    port = free_port()
    command = [sys.executable, "-m", "recsys", "serve", "--bundle", str(shop.path), "--port", str(port)]
    command += ["--workers", str(workers)]
    environment = {
        "RECSYS_REDIS_URL": redis_url,
        "RECSYS_STATE_DIR": str(shop.state),
        "RECSYS_LOG_REQUESTS": "false",
    }
    with served(command, port, "/ready", **environment) as (process, ready_s):
        yield process, port, ready_s


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def resident_bytes(pid: int) -> int:
    """Memory of a process and its children; pages that they share count in each."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * resource.getpagesize()


def cpu_s(pid: int) -> float:
    """CPU time that a process and its children have taken."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
