"""What a feed costs that is asked for right after an event, so that no kept answer can serve: CPU time, stage by stage.

    python benchmarks/bench_feed.py [--items 100000] [--users 100000] [--requests 400] [--json FILE]

One worker's application in this process, on a real embedded Redis, asked through its ASGI interface: a bare Starlette
route that gets 2 KB from the same Redis (the limit), a feed that was kept, and feeds of visitors with 200 recent
events, each after another event, which is sent before and not counted: one by one, and 16 that wait at once, as they do
where a worker is busy, so that they are ranked as one block. A learned ranker orders the feeds and five rules
hold for them, as in `bench_serve.py`. CPU time of the process, so that a busy machine changes the figures little;
medians.
"The rest" is the reading of the live state from Redis, rules bound to the request, items, the answer's bytes and the
log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import redis.asyncio
from figures import keep, takes_json
from redis import Redis
from serve_setup import FEED_ONLY, RECENT, RULES, made_up
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from recsys.bundle import Bundle
from serving.app import create_app
from serving.display import item_json
from serving.embedded_redis import EmbeddedRedis
from serving.keys import Keys
from serving.live import Live
from serving.settings import Settings

App = Callable[..., Awaitable[None]]
VISITORS, AT_ONCE = 100, 16
TOGETHER = f"{AT_ONCE} after events at once"


async def asked(app: App, method: str, path: str, said: Any = None) -> tuple[int, bytes, float]:
    """Status, body and CPU ms of one request."""
    path, _, query = path.partition("?")
    body = b"" if said is None else json.dumps(said).encode()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
        "scheme": "http",
        "server": ("bench", 80),
        "client": ("bench", 1),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    began = time.process_time()
    await app(scope, receive, send)
    took = 1000 * (time.process_time() - began)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]), took


def bare(url: str) -> Starlette:
    """The limit."""
    client = redis.asyncio.Redis.from_url(url)

    async def get(_: Any) -> Response:
        return Response(await client.get("bench:2kb"), media_type="application/json")

    return Starlette(routes=[Route("/bare", get)])


def watched(live: Live, took: dict[str, list[float]]) -> None:
    """Let the steps of a feed's making tell their CPU time."""

    def told(name: str, does: Callable[..., Any]) -> Callable[..., Any]:
        def does_and_tells(*args: Any, **said: Any) -> Any:
            began = time.thread_time()
            try:
                return does(*args, **said)
            finally:
                took[name].append(1000 * (time.thread_time() - began))

        return does_and_tells

    recommender: Any = live.recommender
    for step, name in STEPS.items():
        setattr(recommender, step, told(name, getattr(recommender, step)))


STEPS = {
    "moment": "the moment",
    "ranked_all": "candidates and stages",
    "_learned": "of it ranking",
    "reasons_all": "reasons",
}


async def measured(folder: Path, url: str, requests: int, *, stages: bool) -> dict[str, Any]:
    """All figures."""
    bundle = Bundle.open(folder / "bundle")
    with Redis.from_url(url) as client:
        client.set("bench:2kb", b"x" * 2048)
        keys = Keys()
        for start in range(0, len(bundle), 10_000):
            rows = range(start, min(start + 10_000, len(bundle)))
            client.mset({keys.item(bundle.version, bundle.items[row]): item_json(bundle, row) for row in rows})
    rng = np.random.default_rng(1)

    def event(visitor: str) -> dict[str, str]:
        return {"user_id": visitor, "item_id": bundle.items[int(rng.integers(len(bundle)))], "event_type": "view"}

    app = create_app(Settings.load(bundle=folder / "bundle", redis_url=url, log_requests=False))
    limit, took = bare(url), defaultdict[str, list[float]](list)
    async with app.router.lifespan_context(app):
        visitors = [f"visitor-{number}" for number in range(VISITORS)]
        for visitor in visitors:
            status, _, _ = await asked(app, "POST", "/v1/events", {"events": [event(visitor) for _ in range(RECENT)]})
            assert status == 202, status
        status, said, _ = await asked(
            app, "PUT", "/v1/rules", {"rules": [rule | {"when": FEED_ONLY} for rule in RULES]}
        )
        assert status == 200, said
        path = f"/v1/users/{quote(visitors[0])}/feed?k=12"
        while not json.loads((await asked(app, "GET", path))[1])["rules_version"]:
            await asyncio.sleep(0.05)
        if stages:
            watched(app.state.watcher.live, took)
        for number in range(-50, requests):
            visitor = visitors[number % VISITORS]
            path = f"/v1/users/{quote(visitor)}/feed?k=12"
            status, _, of_event = await asked(app, "POST", "/v1/events", {"events": [event(visitor)]})
            assert status == 202, status
            if number == 0:
                took.clear()
            for name, (app_asked, what) in {
                "bare": (limit, "/bare"),
                "after an event": (app, path),
                "kept": (app, path),
            }.items():
                status, body, ms = await asked(app_asked, "GET", what)
                assert status == 200, (name, status, body)
                took[name].append(ms)
            took["event"].append(of_event)
        for number in range(-2, 0 if stages else requests // AT_ONCE):
            paths = [f"/v1/users/{quote(visitor)}/feed?k=12" for visitor in visitors[:AT_ONCE]]
            for visitor in visitors[:AT_ONCE]:
                await asked(app, "POST", "/v1/events", {"events": [event(visitor)]})
            began = time.process_time()
            answers = await asyncio.gather(*(asked(app, "GET", path) for path in paths))
            assert {status for status, *_ in answers} == {200}
            if number >= 0:
                took[TOGETHER].append(1000 * (time.process_time() - began) / AT_ONCE)
    return {name: round(float(np.median(of)), 4) for name, of in took.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--work", type=Path, default=Path(".recsys/bench-serve"), help="where the made-up shops lie")
    takes_json(parser)
    given = parser.parse_args()
    folder = made_up(given.work, given.items, given.users, given.dim)
    with tempfile.TemporaryDirectory() as state, EmbeddedRedis(Path(state) / "redis") as running:
        os.environ["RECSYS_STATE_DIR"] = state
        ms = asyncio.run(measured(folder, running.url, given.requests, stages=False))
        steps = asyncio.run(measured(folder, running.url, given.requests, stages=True))
    print(f"{'CPU of a request':28} {'ms':>8} {'bare route / this':>18}")
    for name in ("bare", "kept", "event", "after an event", TOGETHER):
        print(f"{name:28} {ms[name]:8.3f} {ms['bare'] / ms[name]:18.2f}")
    print("of a feed after an event")
    of_feed = {name: steps[name] for name in STEPS.values()}
    of_feed["the rest"] = steps["after an event"] - sum(
        of for name, of in of_feed.items() if not name.startswith("of it")
    )
    for name, of in of_feed.items():
        print(f"  {name:26} {of:8.3f} {of / steps['after an event']:17.0%}")
    ratios = {name: round(ms["bare"] / ms[name], 4) for name in ("after an event", TOGETHER)}
    keep(given, {"cpu_ms": ms, "ratio_to_bare": ratios, "stages_ms": of_feed})


if __name__ == "__main__":
    main()
