"""Throughput and latency of the service's hot paths beside a bare route that gets 2 KB from the same Redis.

    python benchmarks/bench_serve.py [--items 100000] [--users 100000] [--seconds 5] [--rounds 3] [--json FILE]

Real servers (uvicorn, one worker each unless --workers says more for the service, one embedded Redis), loaded from
another process. A made-up catalog of that size is published first and kept in `--work` for the next run; --bundle takes
a real one. Every route is asked in turn with the bare route, round by round, and the ratio of a round is between
neighbors, so that it holds while the machine's speed drifts; medians are printed. A learned ranker orders the feeds,
and five rules hold for them.

- closed loop (as many connections as `--connections`): what a route can do at most, its ratio to the bare route, and
  the CPU time of the server a request
- open loop (requests due at random times, at half of the route's own maximum): p50, p95, p99, queueing included
- feed: users with 200 recent events each, as a page asks that is loaded again: all are kept answers, sent again
- feed_made: the same users, each time under a scenario in which they have not asked, as the places of a page do: none
  is kept, all are made; the worker knows the state, and keeps what was found for it (`recsys/pipeline/kept.py`)
- feed_ranked: the same users, each time without another item: the worker knows the user's state, candidates are found
  and ranked anew
- feed_first: as many users with 200 recent events as are asked, each for the first time: none is kept, and the state is
  read from Redis
- feed_after_event: the first users again, each feed asked for after another event, which is sent before and not timed;
  none is kept, and "max rps" counts the pairs
- feed_known: users with nothing but their history, whom rules keep from getting the published list
- version switches under load: failed requests, the p99 of each and of its worst second, beside those of as long a time
  before the first switch; a spike is the worst second of a switch over the p99 before
- how long a worker takes until it is ready, its memory and Redis', and the recall of the nearest-neighbor index
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from figures import keep, machine, takes_json
from load import Asked, load
from redis import Redis
from serve_setup import (
    VISITORS,
    Shop,
    bare_route,
    cpu_s,
    gone,
    made_up,
    newcomers,
    published,
    resident_bytes,
    ruled,
    service,
    undisturbed,
    visited,
)

from recsys.bundle import Bundle
from serving.embedded_redis import EmbeddedRedis

ANSWERS = {"similar": "kept", "feed": "kept"} | dict.fromkeys(
    ("feed_made", "feed_ranked", "feed_first", "feed_after_event", "feed_known"), "made"
)
"""Whether a route's answers were kept, and are sent again under another id, or each is made."""
OTHER = {"feed_made": "scenario=s", "feed_ranked": "exclude=sku-"}
"""What makes a feed another one each time."""
MADE_RPS = 4_000
"""More than the feeds a second that a worker makes."""
WARM_S, SWITCH_S = 8, 50
"""Seconds of load that count for nothing, and for each switch; so many pass before the first one, for comparison."""


def routes(bundle: Bundle, base: str, client: Redis) -> dict[str, Asked]:
    """What is asked of each route."""
    rng = np.random.default_rng(0)
    items = [quote(bundle.items[int(row)], safe="") for row in rng.integers(0, len(bundle), 2000)]
    users = [quote(bundle.users[int(row)], safe="") for row in rng.integers(0, len(bundle.users), 1000)]
    visitors = visited(bundle, base, client)
    ruled(base, visitors[0])

    def event(user: str, row: int) -> tuple[str, str, str]:
        said = [{"user_id": user, "item_id": bundle.items[row], "event_type": "view"}]
        return "POST", "/v1/events", json.dumps({"events": said})

    rows = rng.integers(0, len(bundle), 2000).tolist()
    asked: dict[str, Asked] = {
        "similar": [("GET", f"/v1/items/{item}/similar?k=12", None) for item in items],
        "feed": [("GET", f"/v1/users/{user}/feed?k=12", None) for user in visitors],
        "feed_made": [],
        "feed_ranked": [],
        "feed_first": [],
        "feed_after_event": [
            ("GET", f"/v1/users/{user}/feed?k=12", None, event(user, row))
            for user, row in zip(visitors * 4, rows, strict=False)
        ],
        "feed_known": [("GET", f"/v1/users/{user}/feed?k=12", None) for user in users],
        "events": [event(f"w{n % 500}", row) for n, row in enumerate(rows)],
    }
    words = [
        title for row in range(0, len(bundle), max(1, len(bundle) // 200)) if (title := bundle.display(row)["title"])
    ]
    search: Asked = [("POST", "/v1/search", json.dumps({"words": title, "k": 12})) for title in words]
    _, path, body, *_ = search[0]
    if httpx.post(base + path, content=body, headers={"content-type": "application/json"}).is_success:
        asked["search"] = search
    return asked


def switched(shop: Shop, redis_url: str, *, port: int, asked: Asked, rate: float, times: int) -> dict[str, Any] | None:
    """Switches to another published version while requests come in, and back."""
    if shop.other is None or not times:
        return None
    other = shop.other

    def switch() -> None:
        with Redis.from_url(redis_url) as client:
            time.sleep(WARM_S + SWITCH_S)
            for number in range(times):
                shop.switch(client, (other, shop.path)[number % 2])
                time.sleep(SWITCH_S)
            shop.switch(client, shop.path)

    switching = threading.Thread(target=switch)
    switching.start()
    found = load(port, asked, seconds=WARM_S + (1 + times) * SWITCH_S, connections=64, rate=rate, each=True)
    switching.join()
    each = np.array(found["each"])
    due, latency_ms = each[:, 0], 1000 * each[:, 1]

    def p99_ms(begin: float, end: float) -> float:
        return float(np.quantile(latency_ms[(due >= begin) & (due < end)], 0.99))

    starts = [WARM_S + number * SWITCH_S for number in range(1 + times)]
    before, *whole = (round(p99_ms(start, start + SWITCH_S), 2) for start in starts)
    seconds = [[round(p99_ms(at, at + 1), 2) for at in range(start, start + SWITCH_S)] for start in starts]
    worst_before, *worst = map(max, seconds)
    spikes = [round(one / before, 2) for one in worst]
    return {
        "requests": found["requests"],
        "failed": found["failed"],
        "rate_rps": found["rps"],
        "p99_before_ms": before,
        "p99_of_each_ms": whole,
        "worst_second_before_ms": worst_before,
        "worst_second_p99_ms": worst,
        "p99_of_each_second_ms": seconds,
        "spikes": spikes,
        "spike_median": round(float(np.median(spikes)), 2),
        "spike_worst": max(spikes),
    }


def measured(given: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    """All figures."""
    made = given.bundle is None
    folder = made_up(given.work, given.items, given.users, given.dim) if made else given.work / given.bundle.name
    redis_url = stack.enter_context(EmbeddedRedis(folder / "redis")).url
    client = stack.enter_context(Redis.from_url(redis_url))
    shop = published(folder, given.bundle, client)
    if given.prepare:
        return {}
    undisturbed(client)
    bundle = Bundle.open(shop.path)
    bare_process, bare_port = stack.enter_context(bare_route(redis_url))
    process, port, ready_s = stack.enter_context(service(shop, redis_url, given.workers))
    all_asked = routes(bundle, f"http://127.0.0.1:{port}", client)
    if given.routes:
        all_asked = {name: asked for name, asked in all_asked.items() if name in given.routes}
    bare: Asked = [("GET", "/bare", None)]
    closed = {"seconds": given.seconds, "connections": given.connections}
    figures: dict[str, Any] = {"bare": []} | {name: [] for name in all_asked}
    ratios: dict[str, list[float]] = {name: [] for name in all_asked}

    n_new = 0

    def sent(at: int, name: str, **order: Any) -> dict[str, Any]:
        """A load of one route; feeds that are to be made must be others each time."""
        nonlocal n_new
        if name not in ("feed_made", "feed_ranked", "feed_first"):
            return load(at, bare if name == "bare" else all_asked[name], **order)
        rate = 1.2 * order["rate"] if "rate" in order else MADE_RPS
        numbers = range(n_new, n_new + int(rate * (order["seconds"] + order.get("warm_s", 0))))
        n_new = numbers.stop
        users = newcomers(client, numbers) if name == "feed_first" else []
        paths = [f"/v1/users/{user}/feed?k=12" for user in users] or [
            f"/v1/users/visitor-{number % VISITORS}/feed?k=12&{OTHER[name]}{number // VISITORS}" for number in numbers
        ]
        found = load(at, [("GET", path, None) for path in paths], **order)
        gone(client, users)
        assert found["requests"] <= len(paths), "some feeds were asked for twice: raise MADE_RPS"
        return found

    def most(pid: int, at: int, name: str) -> dict[str, Any]:
        before = cpu_s(pid)
        found = sent(at, name, **closed)
        return found | {"cpu_us": 1e6 * (cpu_s(pid) - before) / found["requests"]}

    for number in range(given.rounds):
        for name in all_asked:
            limit = most(bare_process.pid, bare_port, "bare")
            found = most(process.pid, port, name)
            figures["bare"].append(limit)
            figures[name].append(found)
            ratios[name].append(found["rps"] / limit["rps"])
        print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    table = {}
    for name, found in figures.items():
        assert sum(one["failed"] for one in found) == 0, (name, found)
        rps = float(np.median([one["rps"] for one in found]))
        at, rate = bare_port if name == "bare" else port, max(1.0, rps / 2)
        half = sent(at, name, seconds=2 * given.seconds, connections=256, rate=rate, warm_s=1.0)
        table[name] = {
            "rps": round(rps, 1),
            "answers": ANSWERS.get(name, ""),
            "ratio_to_bare": round(float(np.median(ratios[name])), 3) if name in ratios else 1.0,
            "cpu_us": round(float(np.median([one["cpu_us"] for one in found])), 1),
            "half_rate_rps": half["rps"],
            **{key: half[key] for key in ("p50_ms", "p95_ms", "p99_ms", "late_p99_ms", "failed")},
        }
    switch = None
    if "similar" in table:
        rate = max(1.0, table["similar"]["rps"] / 2)
        switch = switched(shop, redis_url, port=port, asked=all_asked["similar"], rate=rate, times=given.switches)
    return {
        "routes": table,
        "version_switch": switch,
        "catalog": {"items": len(bundle), "users": len(bundle.users), "index": bundle.manifest.index},
        "worker": {"ready_s": round(ready_s, 2), "resident_bytes": resident_bytes(process.pid)},
        "redis": shop.about | {"used_memory": client.info("memory")["used_memory"]},
    }


def main() -> None:
    """Measure and print a line a route."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a real bundle in place of the made-up catalog")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="of the service; the bare route has one")
    parser.add_argument("--switches", type=int, default=6, help="of the version, under the load of similar items")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--routes", nargs="*", help="only these beside the bare one")
    parser.add_argument("--work", type=Path, default=Path(".recsys/bench-serve"), help="where the made-up shops lie")
    parser.add_argument("--prepare", action="store_true", help="make and publish the shop, and end")
    takes_json(parser)
    given = parser.parse_args()
    with ExitStack() as stack:
        figures = measured(given, stack)
    if given.prepare:
        return
    keep(given, figures)
    if figures["version_switch"] is not None:
        del figures["version_switch"]["p99_of_each_second_ms"]  # for the file
    print(
        f"{'route':16} {'answers':7} {'max rps':>9} {'of bare':>8} {'cpu us':>7} {'at half: p50':>13} {'p95':>8} "
        f"{'p99':>8} failed"
    )
    for name, route in figures["routes"].items():
        print(
            f"{name:16} {route['answers']:7} {route['rps']:9,.0f} {route['ratio_to_bare']:8.2f} {route['cpu_us']:7.0f} "
            f"{route['p50_ms']:13.2f} {route['p95_ms']:8.2f} {route['p99_ms']:8.2f} {route['failed']:6}"
        )
    for name in ("version_switch", "catalog", "worker", "redis"):
        print(f"{name}: {json.dumps(figures[name])}")
    print(f"machine: {json.dumps(machine())}")


if __name__ == "__main__":
    main()
