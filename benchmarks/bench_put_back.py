"""How long users' events take to come back from the archive to an emptied Redis, and what others wait meanwhile.

    python benchmarks/bench_put_back.py [--users 20000] [--events 50] [--json FILE]

The limit is what the service itself takes to apply as many events, 100 in a step, as in its busiest second. Meanwhile
somebody reads a user's 200 recent events every 2 ms, as feeds do, before and while events come back.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from figures import keep, takes_json
from redis import Redis

from serving.applying import Applying
from serving.connection import connect_async
from serving.embedded_redis import EmbeddedRedis
from serving.events import Event
from serving.history.forgotten import Forgotten
from serving.keys import Keys
from serving.nearline.archive import Archive
from serving.nearline.collect import collect
from serving.nearline.rows import event_rows
from serving.settings import Settings

PART, TOGETHER = 5_000, 100
DAYS = 10


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=50, help="of each user, on average, over ten days")
    takes_json(parser)
    return parser.parse_args()


def made_up(n_users: int, n_events: int) -> list[Event]:
    """Visits of ten days: a user comes now and then, and looks at some ten items."""
    rng = np.random.default_rng(0)
    begin_s = time.time() - DAYS * 86_400
    visits_s = np.sort(rng.uniform(begin_s, time.time() - 60, n_events // 10))
    users = rng.integers(n_users, size=len(visits_s))
    return [
        Event(f"e{visit}-{place}", f"u{user}", f"i{rng.integers(50_000)}", "view", at_s + place, None)
        for visit, (user, at_s) in enumerate(zip(users.tolist(), visits_s.tolist(), strict=True))
        for place in range(10)
    ]


def archived(folder: Path, events: list[Event]) -> None:
    """As `recsys log collect` leaves them."""
    Forgotten(folder)
    parts = Archive(folder / "events", event_rows)
    for start in range(0, len(events), PART):
        batch = events[start : start + PART]
        entries = [
            (f"{int(one.timestamp * 1000)}-{place}", {name: text.encode() for name, text in one.fields().items()})
            for place, one in enumerate(batch)
        ]
        parts.write(sorted(entries, key=lambda entry: int(entry[0].partition("-")[0])), again=False)


async def applied(url: str, events: list[Event]) -> float:
    """Seconds that the service takes for these events."""
    client = connect_async(url, timeout_s=5.0, pool_size=4)
    applying = Applying(client, Keys(), Settings(), clustered=False)
    began = time.perf_counter()
    for start in range(0, len(events), TOGETHER):
        await applying.apply(events[start : start + TOGETHER])
    took_s = time.perf_counter() - began
    await client.aclose()
    return took_s


def put_back(url: str, archive: Path) -> tuple[float, float]:
    """Seconds that a near-line worker takes, and of its CPU."""
    with Redis.from_url(url) as client:
        began, cpu = time.perf_counter(), time.process_time()
        collect(client, archive, worker="a", stop=threading.Event(), once=True, returns=Settings(redis_url=url))
        return time.perf_counter() - began, time.process_time() - cpu


class Reader(threading.Thread):
    """Reads a user's events again and again, and how long each takes."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._client = Redis.from_url(url)
        self._ended = threading.Event()
        self.took_ms: list[float] = []

    def run(self) -> None:
        """Read until told to stop."""
        while not self._ended.wait(0.002):
            began = time.perf_counter()
            self._client.lrange("reader", 0, -1)
            self.took_ms.append(1000 * (time.perf_counter() - began))

    def end(self) -> np.ndarray:
        """p50, p99 and the worst, ms."""
        self._ended.set()
        self.join()
        return np.percentile(self.took_ms, [50, 99, 100])


def main() -> None:
    """Print how fast events come back, beside the limit, and what a reader waits."""
    given = arguments()
    events = made_up(given.users, given.users * given.events)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        archive = Path(folder) / "log"
        archived(archive, events)
        sample = events[:: max(1, len(events) // 50_000)]
        limit = len(sample) / asyncio.run(applied(server.url, sample))
        with Redis.from_url(server.url) as client:
            client.flushall()
            entries = [one.entry() for one in events[:200]]
            client.rpush("reader", *entries)
            reader = Reader(server.url)
            reader.start()
            time.sleep(2.0)
            before = reader.end()
            reader = Reader(server.url)
            reader.start()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as collector:
                took_s, cpu_s = collector.submit(put_back, server.url, archive).result()
            meanwhile = reader.end()
            back = int(client.hget(Keys().history, "events") or 0)
    rate = len(events) / took_s
    print(f"{len(events):,} events of {given.users:,} users in the archive, {back:,} put back in {took_s:.1f} s")
    print(f"put back  {rate:>9,.0f} events a second, {rate / limit:.2f} of the {limit:,.0f} that the service applies")
    print(f"reader    before: p50 {before[0]:.2f}, p99 {before[1]:.2f}, worst {before[2]:.1f} ms")
    print(f"          meanwhile: p50 {meanwhile[0]:.2f}, p99 {meanwhile[1]:.2f}, worst {meanwhile[2]:.1f} ms")
    figures = {
        "events": len(events),
        "back": back,
        "seconds": took_s,
        "cpu_s": cpu_s,
        "rate": rate,
        "of_limit": rate / limit,
    }
    keep(given, {**figures, "limit": limit, "reader_before_ms": before, "reader_meanwhile_ms": meanwhile})


if __name__ == "__main__":
    main()
