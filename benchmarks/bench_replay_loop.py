"""The whole way round: a service that explores, visitors with known tastes, the log it wrote, and what a replay says.

    .venv/bin/python benchmarks/bench_replay_loop.py --requests 50000 --repeats 100 --json loop.json

A real service over real sockets answers feeds of four slots with exploration on; simulated visitors click by position
(their true rates are known for any policy exactly); `recsys log`'s collector brings slots and clicks from Redis to
parquet; `recsys replay` reads it. Told is what the replay says of the logging policy beside the observed rate and the
truth, and of two others: the best items without exploration, and lists drawn with another temperature.

Whether intervals cover the truth takes many logs. Each of the `--repeats` is as long as the served one, with visits,
draws and clicks of its own by its seed, and judged as the served log is; its lists come from the same recommender and
the same draws as the service's, in this process: a hundred such logs over sockets would take hours. Finished repeats
are kept in --json and not run again, so a run that was stopped goes on.
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
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from figures import keep, takes_json
from redis import Redis
from replay_town import EPSILON, SLOTS, TEMPERATURE, Town, as_log, drawn_traffic, make_town
from scipy import stats

from features.progress import bar
from features.quarantine import Quarantine
from recsys.replay.bundle_policy import answer_log
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.placed import PlacedLists
from recsys.replay.policy import ListPolicy, Logged, Policy
from recsys.replay.reading import read_logs
from serving.app import create_app
from serving.embedded_redis import EmbeddedRedis
from serving.nearline.archive import merge
from serving.nearline.collect import collect
from serving.publishing import Publisher
from serving.settings import Settings

OTHER_TEMPERATURE = 0.6
OTHERS: dict[str, float | None] = {"best items": None, "other temperature": OTHER_TEMPERATURE}


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
    )
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


def policies(town: Town, log: Log) -> list[Policy]:
    """The other policies on a log: what the bundle answers each user, asked once a user as nothing else shapes it."""
    one_each = np.zeros((town.n_users, SLOTS))
    asked = as_log(town, np.arange(town.n_users), one_each.astype(np.int32), one_each > 0, propensity=one_each + 1.0,
                   marginal=one_each + 1.0)  # fmt: skip
    of_user = np.array([int(user.removeprefix("user-")) for user in log.users])[log.user_idx]
    of_log = log.items.idxs(asked.items.ids)
    found: list[Policy] = []
    for name, temperature in OTHERS.items():
        policy = answer_log(name, town.bundle, asked, temperature=temperature).policy
        if isinstance(policy, ListPolicy):
            items = of_log[policy.items.reshape(town.n_users, SLOTS)[of_user, log.position]]
            found.append(ListPolicy(name, len(log.items), items[:, None], np.ones((len(log), 1))))
        elif isinstance(policy, PlacedLists):
            first = np.flatnonzero(np.diff(log.request_idx, prepend=-1))
            orders = of_log[policy.items[of_user[first]]].astype(np.int32)
            weights = np.arange(1.0, orders.shape[1] + 1) ** (-1 / OTHER_TEMPERATURE)
            found.append(
                PlacedLists(name, len(log.items), first_request=0, items=orders, weights=weights, n_slots=SLOTS)
            )
    return found


def judged(town: Town, log: Log, seed: int) -> dict[str, Any]:
    """What a replay says of every policy: value, ends of the interval, worth, by estimator."""
    config = ReplayConfig(seed=seed, segments=False)
    found = replay(log, [Logged(log), *policies(town, log)], config=config).policies
    return {
        name: {
            "chosen": one.chosen["auto"],
            "verdict": one.verdict.label,
            "estimators": {
                estimator: [said.value, said.low, said.high, said.standard_error, said.effective_sample_size]
                for estimator, said in one.estimators.items()
                if math.isfinite(said.value)
            },
        }
        for name, one in found.items()
    } | {"observed": float(log.reward.mean()), "requests": log.n_requests}


def truths(town: Town) -> dict[str, float]:
    """The true clicks a slot of every policy."""
    return {"logged": town.rate(TEMPERATURE, EPSILON)} | {
        name: town.rate(temperature or 0.0) for name, temperature in OTHERS.items()
    }


def served(town: Town, folder: Path, n_requests: int, *, seed: int) -> dict[str, Any]:
    """Serve, visit, collect, replay."""
    with ExitStack() as stack:
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
        return {"requests_a_second": round(n_requests / took), **judged(town, log, seed)}


def coverage(repeats: list[dict[str, Any]], truth: dict[str, float]) -> dict[str, Any]:
    """By policy and estimator: in how many repeats the interval holds the truth, and what that says of the share."""
    found: dict[str, Any] = {}
    for name, true in truth.items():
        of_policy: dict[str, Any] = {}
        for estimator in repeats[0][name]["estimators"]:
            said = [one[name]["estimators"][estimator] for one in repeats if estimator in one[name]["estimators"]]
            held = sum(low <= true <= high for _, low, high, _, _ in said)
            errors = np.array([value - true for value, *_ in said])
            exact = stats.binomtest(held, len(said)).proportion_ci()
            of_policy[estimator] = {
                "held": held,
                "of": len(said),
                "share_low": round(float(exact.low), 3),
                "share_high": round(float(exact.high), 3),
                "bias": float(errors.mean()),
                "bias_error": float(errors.std(ddof=1) / math.sqrt(len(said))) if len(said) > 1 else math.nan,
                "worth": float(np.median([worth for *_, worth in said])),
            }
        found[name] = of_policy
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    takes_json(parser, "where results are kept, with machine and settings; what is there is not run again")
    options = parser.parse_args()
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.is_file():
        kept = json.loads(options.json.read_text())
    asked = {"requests": options.requests, "seed": options.seed}
    if kept.get("asked", asked) != asked:
        parser.error(f"{options.json} holds a run of {kept['asked']}, not of {asked}")

    with tempfile.TemporaryDirectory(prefix="loop") as folder:
        town = make_town(Path(folder), n_users=600, seed=options.seed)
        kept |= {"asked": asked, "truth": truths(town)}
        repeats = kept.setdefault("repeats", [])
        with bar("Repeats", total=options.repeats) as progress:
            progress.advance(len(repeats))
            while len(repeats) < options.repeats:
                seed = 1 + options.seed * 1_000_000 + len(repeats)
                repeats.append(judged(town, drawn_traffic(town, options.requests, seed=seed), seed))
                progress.advance()
                keep(options, kept)
        if "served" not in kept:
            kept["served"] = served(town, Path(folder), options.requests, seed=options.seed)
            keep(options, kept)
    told = {"truth": kept["truth"], "served": kept["served"]}
    if options.repeats:
        told["repeats"] = coverage(repeats[: options.repeats], kept["truth"])
    kept["summary"] = told
    keep(options, kept)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
