"""The whole way round: a service that explores, visitors with known tastes, the log it wrote, and what a replay says.

    .venv/bin/python benchmarks/bench_replay_loop.py --requests 50000 --repeats 100 --json

A real service over real sockets answers feeds of four slots with exploration on; simulated visitors click by position
(their true rates are known for any policy exactly); `recsys log`'s collector brings slots and clicks from Redis to
parquet; `recsys replay` reads it. Then

- what the replay says of the logging policy beside the observed rate, and beside its true value
- two other policies: the best items without exploration, and lists drawn with another temperature; the log is cut
  into `--repeats` parts of as many requests each, and it is counted in how many the 95% interval holds the truth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from redis import Redis

from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.replay.bundle_policy import answer_log
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.plackett_luce import slot_probabilities
from recsys.replay.policy import ListPolicy, Logged, Policy
from recsys.replay.reading import read_logs
from recsys.replay.simulator.world import World, make_world
from serving.app import create_app
from serving.embedded_redis import EmbeddedRedis
from serving.nearline.archive import merge
from serving.nearline.collect import collect
from serving.publishing import Publisher
from serving.settings import Settings

SLOTS = 4
TEMPERATURE, EPSILON = 1.0, 0.1
OTHER_TEMPERATURE = 0.6


@dataclass(frozen=True, eq=False)
class Town:
    """Visitors, their true tastes, and a bundle that knows them roughly."""

    world: World
    bundle: Bundle
    n_users: int

    def kind(self, user: int) -> int:
        """The group of a visitor."""
        return user % self.world.n_groups

    def order(self, kind: int) -> list[int]:
        """What the bundle would show a visitor of a kind, best first."""
        answer = BundleRecommender(self.bundle).recommend(UserState(f"user-{kind}"), self.world.n_items)
        return [self.bundle.items.idx(one.item_id) for one in answer]

    def rate(self, temperature: float, epsilon: float = 0.0) -> float:
        """True clicks a slot where lists are drawn by place to the power of -1 / temperature, or evenly."""
        n = self.world.n_items
        places = np.arange(1.0, n + 1.0)
        drawn = slot_probabilities(-np.log(places) / temperature, SLOTS) if temperature else np.eye(SLOTS, n)
        table = (1 - epsilon) * drawn + epsilon / n
        total = 0.0
        for kind in range(self.world.n_groups):
            liked = self.world.attraction[0, kind, self.order(kind)]
            total += float(self.world.examination @ table @ liked) / SLOTS
        return total / self.world.n_groups


def make_town(folder: Path, *, n_users: int, seed: int) -> Town:
    """A bundle whose users are of six kinds; what it believes of their tastes is half true."""
    world = make_world(n_items=20, n_groups=6, n_positions=SLOTS, click_rate=0.2, seed=seed)
    rng = np.random.default_rng(seed)
    liked = np.log(world.attraction[0] / (1 - world.attraction[0]))
    believed = liked + rng.normal(0.0, 0.8, liked.shape)
    n = world.n_items
    none = np.full((n, 1), -1), np.zeros((n, 1), dtype=np.float32)
    path = write_bundle(
        folder / "bundle",
        items=world.items,
        users=Vocabulary(tuple(f"user-{row}" for row in range(n_users))),
        item_embeddings=believed.T.astype(np.float32),
        user_embeddings=np.eye(6, dtype=np.float32)[np.arange(n_users) % 6],
        text_vectors=np.zeros((n, 0), dtype=np.float32),
        image_vectors=np.zeros((n, 0), dtype=np.float32),
        popularity=np.ones(n, dtype=np.float32),
        match_scores=np.full(n, np.nan, dtype=np.float32),
        display=(
            {"item_id": f"item-{row}", "title": f"Item {row}", "description": "", "price": 1.0, "available": True,
             "image": "", "attributes": {}}
            for row in range(n)
        ),
        seen=(np.zeros(n_users + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)),
        similar_idx=none[0],
        similar_score=none[1],
        neighbors={},
        co_idx=none[0],
        co_count=np.zeros((n, 1), dtype=np.int32),
        config={},
        metrics={},
        fingerprints={},
    )  # fmt: skip
    return Town(world, Bundle.open(path), n_users)


@contextmanager
def serving(town: Town, state: Path, redis_url: str) -> Iterator[str]:
    """The service with exploration on, in a thread behind a real socket; its address."""
    settings = Settings(
        redis_url=redis_url,
        bundle=town.bundle.path,
        state_dir=state,
        poll_s=0.1,
        redis_timeout_s=30.0,
        log_requests=False,
    )  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    while httpx.get(base + "/ready").status_code != 200:
        time.sleep(0.05)
    rules = {"exploration": {"temperature": TEMPERATURE, "epsilon": EPSILON, "pool": town.world.n_items}}
    httpx.put(base + "/v1/rules", json=rules, timeout=10).raise_for_status()
    path = f"{base}/v1/users/user-0/feed?k={SLOTS}"
    while httpx.get(path).json()["recommendations"][0]["propensity"] == 1.0:
        time.sleep(0.1)
    try:
        yield base
    finally:
        server.should_exit = True
        thread.join(20)


async def visit(town: Town, base: str, n_requests: int, *, seed: int, at_once: int = 16) -> None:
    """Ask for feeds, click by position, and report the clicks when all is shown: so that no feed depends on them."""
    rng = np.random.default_rng([seed, 21])
    users = rng.integers(town.n_users, size=n_requests)
    luck = rng.random((n_requests, SLOTS, 2))
    events: list[dict[str, Any]] = []
    todo = iter(range(n_requests))

    async def worker(client: httpx.AsyncClient) -> None:
        for number in todo:
            user = int(users[number])
            answer = (await client.get(f"/v1/users/user-{user}/feed?k={SLOTS}")).json()
            for slot, shown in enumerate(answer["recommendations"]):
                item = str(shown["item"]["item_id"])
                liked = town.world.attraction[0, town.kind(user), town.bundle.items.idx(item)]
                if luck[number, slot, 0] < town.world.examination[slot] and luck[number, slot, 1] < liked:
                    events.append(
                        {"user_id": f"user-{user}", "item_id": item, "event_type": "click", "timestamp": time.time(),
                         "recommendation_id": answer["recommendation_id"]}
                    )  # fmt: skip

    async with httpx.AsyncClient(base_url=base, timeout=30) as client:
        await asyncio.gather(*(worker(client) for _ in range(at_once)))
        for start in range(0, len(events), 100):
            (await client.post("/v1/events", json={"events": events[start : start + 100]})).raise_for_status()


def gathered(client: Redis, folder: Path, n_requests: int) -> Log:
    """What the service wrote, once all of it is in the streams, as a log."""
    stop = threading.Event()
    collected = 0
    while collected < n_requests:
        found = collect(client, folder, worker="bench", stop=stop, once=True)
        collected += found.entries["impressions"]
        assert not any(found.lost.values()), found.lost
    for kind in ("impressions", "events"):
        merge(folder / kind, folder / f"{kind}.parquet", kind=kind)
    quarantine = Quarantine()
    (log,) = read_logs(folder, quarantine=quarantine)
    assert quarantine.total == 0, quarantine.counts
    return log


def judged(town: Town, log: Log, repeats: int, seed: int) -> dict[str, Any]:
    """Both questions, as figures."""
    config = ReplayConfig(seed=seed, segments=False)
    own = replay(log, [Logged(log)], config=config).policies["logged"].estimators
    truth = town.rate(TEMPERATURE, EPSILON)
    error = own["ips"].standard_error
    figures: dict[str, Any] = {
        "requests": log.n_requests,
        "logging policy": {
            "observed": log.reward.mean(),
            "ips": own["ips"].value,
            "dr": own["dr"].value,
            "truth": truth,
            "z": (own["ips"].value - truth) / error,
        },
    }
    parts = np.array_split(np.arange(log.n_requests), repeats)
    for name, temperature in (("best items", None), ("other temperature", OTHER_TEMPERATURE)):
        truth = town.rate(temperature or 0.0)
        policy = answer_log(name, town.bundle, log, temperature=temperature).policy
        whole = replay(log, [policy], config=config).policies[name]
        held: dict[str, list[bool]] = {}
        for part in parts:
            mask = (log.request_idx >= part[0]) & (log.request_idx <= part[-1])
            one = log.where(mask)
            again: Policy = policy  # lists are looked up by request, single answers by row
            if isinstance(policy, ListPolicy):
                again = ListPolicy(name, len(log.items), policy.items[mask], policy.probability[mask])
            for estimator, found in replay(one, [again], config=config).policies[name].estimators.items():
                if math.isfinite(found.value):
                    held.setdefault(estimator, []).append(found.low <= truth <= found.high)
        figures[name] = {
            "truth": truth,
            "auto": [whole.estimators["auto"].value, whole.estimators["auto"].low, whole.estimators["auto"].high],
            "estimator": whole.chosen["auto"],
            "verdict": whole.verdict.label,
            "held": {estimator: float(np.mean(found)) for estimator, found in held.items()},
        }
    return figures


def run(n_requests: int, repeats: int, *, n_users: int = 600, seed: int = 0) -> dict[str, Any]:
    """Serve, visit, collect, replay."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loop")))
        town = make_town(folder, n_users=n_users, seed=seed)
        redis_url = stack.enter_context(EmbeddedRedis(folder / "redis")).url
        client = stack.enter_context(Redis.from_url(redis_url))
        Publisher(client, state_dir=folder / "state").publish(town.bundle)
        with serving(town, folder / "state", redis_url) as base:
            time.sleep(1.0)
            client.delete("rs:impressions")  # what was looked at to see that exploration is on
            start = time.perf_counter()
            asyncio.run(visit(town, base, n_requests, seed=seed))
            took = time.perf_counter() - start
            log = gathered(client, folder / "log", n_requests)
        return {"requests_a_second": round(n_requests / took), **judged(town, log, repeats, seed)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args()
    figures = run(options.requests, options.repeats, seed=options.seed)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
