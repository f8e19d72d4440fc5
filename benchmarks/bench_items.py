"""How soon a new item is answerable: encoded, placed, in lists and searches; here, and in another worker.

    .venv/bin/python benchmarks/bench_items.py RUN/bundle --items 100000

Two workers of one process share an embedded Redis and the bundle's own encoders; new items are copies of its items with
other ids, sent as a shop sends them. Times are told as a share of the limit of one second. The second part draws a
large catalog and measures what one change costs there, without encoding.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from figures import keep, takes_json
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from bench_recommender import write_shop

from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placed
from recsys.bundle import Bundle
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from serving.app import create_app
from serving.embedded_redis import EmbeddedRedis
from serving.settings import Settings

LIMIT_S = 1.0


def told(times: list[float]) -> dict[str, float]:
    """Median and 99th percentile in ms, and the latter as a share of the limit."""
    worst = float(np.quantile(times, 0.99))
    return {
        "p50_ms": round(1000 * float(np.median(times)), 1),
        "p99_ms": round(1000 * worst, 1),
        "p99_of_limit": round(worst / LIMIT_S, 3),
    }


def serve(stack: ExitStack, settings: Settings) -> httpx.Client:
    """A worker behind a real socket."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join()

    stack.callback(stop)
    port = server.servers[0].sockets[0].getsockname()[1]
    return stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))


def drawn_picture(seed: int) -> str:
    """A photograph-sized picture of noise, as JPEG in base64."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 255, (32, 32, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not holds():
        time.sleep(0.002)


def service_figures(path: Path, times: int) -> dict[str, Any]:
    """What a shop sees that puts items and changes prices."""
    bundle = Bundle.open(path)
    pictures = bool(np.any(bundle.image_vectors))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rs")))
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        settings = Settings(bundle=path, redis_url=redis.url, log_requests=False, redis_timeout_s=5.0)
        here, there = (serve(stack, settings) for _ in range(2))
        until(lambda: all(client.get("/ready").json()["redis"] == "up" for client in (here, there)))
        took: dict[str, list[float]] = {"put": [], "listed_here": [], "known_there": [], "price": []}
        for call in range(-2, times):
            item_id = f"new-{call}"
            own = bundle.display((7919 * (call + 3)) % len(bundle))
            body = {name: own[name] for name in ("title", "description", "price", "attributes")}
            body |= {"picture": drawn_picture(call + 2)} if pictures else {}
            began = time.perf_counter()
            answer = here.put(f"/v1/items/{item_id}", json=body)
            assert answer.status_code == 200, answer.text
            put = time.perf_counter() - began
            listed = here.get(f"/v1/items/{item_id}/similar").json()["recommendations"]
            assert len(listed) == 12, "a new item must have similar items"
            listed_here = time.perf_counter() - began
            until(lambda: there.get(f"/v1/items/{item_id}").status_code == 200)  # noqa: B023 - called at once
            known_there = time.perf_counter() - began
            began = time.perf_counter()
            assert here.patch(f"/v1/items/{item_id}", json={"price": 5.0 + call}).status_code == 200
            price = time.perf_counter() - began
            for name, value in (
                ("put", put),
                ("listed_here", listed_here),
                ("known_there", known_there),
                ("price", price),
            ):
                if call >= 0:
                    took[name].append(value)
        return {"items": len(bundle), "pictures": pictures, **{name: told(values) for name, values in took.items()}}


def catalog_figures(n_items: int, times: int) -> dict[str, Any]:
    """What one change costs in a large catalog: a new item, a price, and the first answer after it."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle.open(write_shop(Path(folder) / "bundle", n_items, 2_000, 64, 0), verify=False)
        recommender, amendments = BundleRecommender(bundle), Amendments(bundle, None)
        rng = np.random.default_rng(0)
        took: dict[str, list[float]] = {"new_item": [], "price": [], "first_feed": []}
        for call in range(times):
            place = np.append(rng.standard_normal(64), 0).astype(np.float32)
            place /= np.linalg.norm(place)
            shown = {**bundle.display(call), "item_id": f"new-{call}"}
            for name, change in (
                ("new_item", {f"new-{call}": Placed(shown, {}, place)}),
                ("price", {bundle.items[call]: Placed({**bundle.display(call), "price": 1.0}, {})}),
            ):
                began = time.perf_counter()
                made, _, spaces = amendments.apply(change)
                live = recommender.amended(made, spaces)
                took[name].append(time.perf_counter() - began)
            began = time.perf_counter()
            live.recommend(UserState(f"user-{call}"), 20)
            took["first_feed"].append(time.perf_counter() - began)
        return {"items": n_items, **{name: told(values) for name, values in took.items()}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="of a fit: it has encoders, and places new items")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=50)
    takes_json(parser)
    args = parser.parse_args()
    figures = {"service": service_figures(args.bundle, args.times)}
    print(json.dumps(figures, indent=1))
    catalog = {"catalog": catalog_figures(args.items, args.times)}
    print(json.dumps(catalog, indent=1))
    keep(args, figures | catalog)


if __name__ == "__main__":
    main()
