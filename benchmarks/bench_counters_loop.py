"""From a log to what is shown: a ranker with counters beside one without, and one with plain click rates.

    .venv/bin/python benchmarks/bench_counters_loop.py --seeds 3

A planted town. What users like is half taste, which training can learn, and half how each item attracts; that was drawn
anew when the log began, and differs a little between the scenarios "home" and "cart". The shop showed lists of what was
at hand in the order of last season's appeal, which wavered; places are looked at by 1 / place, so what stood high was
clicked much. Then every user liked two items, wherever they stand, for validation and two for test. Each arm is `recsys
log counters` and `recsys fit` on the same shop. Printed are ndcg@20 on test and true clicks a slot of the first ten of
every user's feed, over the arm without counters; mean and spread over the seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import keep, takes_json
from numpy.typing import NDArray

from features.deviation import sample_deviation
from features.quarantine import Quarantine
from recsys.appeal.counting import CountingConfig, count_logs
from recsys.appeal.files import write_counters
from recsys.appeal.history import CounterHistory
from recsys.bundle import Bundle
from recsys.config import with_settings
from recsys.fit import fit
from recsys.pipeline.request import Request
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.replay.form import LogFormat
from recsys.replay.reading import read_logs

F64 = NDArray[np.float64]
SCENARIOS = ("home", "cart")
SLOTS, DAY = 10, 86_400.0
AT_HAND = 40
"""Items that a list is made of, drawn anew for each."""
LOOKS = 1 / np.arange(1, SLOTS + 1)
T0 = 1.7e9
"""When the log begins."""
LOG_DAYS = 10
SETTINGS = ("alternatives=[]", 'baselines.models=["popularity"]', "evaluation.bootstrap_samples=0")


@dataclass(frozen=True, eq=False)
class Town:
    """What nobody but the town knows.

    Args:
        taste: float64 [n_users, n_items].
        last: float64 [n_items]; how each attracted before the log.
        now: float64 [2, n_items]; and since, by scenario.
    """

    taste: F64
    last: F64
    now: F64

    def chance(self, scenario: int) -> F64:
        """Of a click by each user on each item that is looked at, float64 [n_users, n_items]."""
        chance: F64 = 1 / (1 + np.exp(2.5 - self.taste - self.now[scenario]))
        return chance


def town_of(n_users: int, n_items: int, rng: np.random.Generator) -> Town:
    """Tastes of rank 4."""
    taste = rng.normal(size=(n_users, 4)) @ rng.normal(size=(4, n_items)) / 2
    now = rng.normal(0, 1, n_items) + rng.normal(0, 0.5, (len(SCENARIOS), n_items))
    return Town(taste, rng.normal(0, 1, n_items), now)


def write_shop(folder: Path, town: Town, *, n_requests: int, rng: np.random.Generator) -> None:
    """What the shop knows: items, what users did, what they were shown; and the split."""
    n_users, n_items = town.taste.shape
    users, items = [f"u{row}" for row in range(n_users)], [f"i{row}" for row in range(n_items)]
    events: list[tuple[str, str, float, str]] = []
    for user in range(n_users):
        wanted = town.taste[user] + town.last + rng.gumbel(size=n_items)
        before = np.argsort(-wanted)[:12]
        events += [(users[user], items[item], T0 - DAY * rng.uniform(1, 60), "train") for item in before.tolist()]
        wanted = town.taste[user] + town.now.mean(axis=0) + rng.gumbel(size=n_items)
        wanted[before] = -np.inf
        for place, item in enumerate(np.argsort(-wanted)[:4].tolist()):
            side = "valid" if place % 2 == 0 else "test"
            events.append((users[user], items[item], T0 + DAY * (LOG_DAYS + 1 + place), side))
    slots: list[dict[str, Any]] = []
    chance = [town.chance(scenario) for scenario in range(len(SCENARIOS))]
    for request in range(n_requests):
        user, scenario = int(rng.integers(n_users)), int(rng.integers(len(SCENARIOS)))
        at_hand = rng.choice(n_items, AT_HAND, replace=False)
        shown = at_hand[np.argsort(-(2 * town.last[at_hand] + rng.gumbel(size=AT_HAND)))[:SLOTS]]
        clicked = rng.random(SLOTS) < LOOKS * chance[scenario][user, shown]
        at = T0 + DAY * LOG_DAYS * request / n_requests
        common = {"request_id": f"r{request}", "user_id": users[user], "scenario": SCENARIOS[scenario], "timestamp": at}
        slots += [
            {
                **common,
                "policy": "season",
                "campaign": "feed",
                "position": place,
                "item_id": items[item],
                "clicked": hit,
            }
            for place, (item, hit) in enumerate(zip(shown.tolist(), clicked.astype(int).tolist(), strict=True))
        ]
        events += [(users[user], items[item], at, "train") for item in shown[clicked].tolist()]
    folder.mkdir()
    pd.DataFrame({"item_id": items, "title": [f"article {row}" for row in range(n_items)]}).to_csv(
        folder / "items.csv", index=False
    )
    told = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp", "split"])
    told.drop(columns="split").to_parquet(folder / "interactions.parquet")
    pd.DataFrame(slots).to_parquet(folder / "impressions.parquet")
    sides = told.drop_duplicates(["user_id", "item_id"])[["user_id", "item_id", "split"]]
    sides.to_parquet(folder / "split.parquet")


def counters_of(shop: Path) -> CounterHistory:
    """What `recsys log counters` counts."""
    return count_logs(read_logs(shop, LogFormat(), quarantine=Quarantine()), CountingConfig(), window_s=0.0)


def plain(history: CounterHistory) -> CounterHistory:
    """As if all places were looked at alike: clicks over slots."""
    return replace(history, position=np.zeros_like(history.position))


def clicks_a_slot(bundle: Bundle, town: Town, *, by_scenario: bool) -> float:
    """True clicks a slot, where it is looked at, of the first ten of every user's feed."""
    recommender, total = BundleRecommender(bundle), 0.0
    for place, scenario in enumerate(SCENARIOS):
        chance = town.chance(place)
        for user in range(len(town.taste)):
            request = Request(
                SLOTS, UserState(f"u{user}"), scenario=scenario if by_scenario else "", now_s=T0 + DAY * (LOG_DAYS + 1)
            )
            rows = recommender.ranked(recommender.moment(request)).rows
            total += float(LOOKS[: len(rows)] @ chance[user, [int(bundle.items[row][1:]) for row in rows.tolist()]])
    return total / (len(SCENARIOS) * len(town.taste) * LOOKS.sum())


def measured(folder: Path, args: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Each arm of one town."""
    rng = np.random.default_rng(seed)
    town = town_of(args.users, args.items, rng)
    shop, found = folder / "shop", dict[str, dict[str, float]]()
    write_shop(shop, town, n_requests=args.requests, rng=rng)
    history = counters_of(shop)
    arms: Mapping[str, CounterHistory | None] = {"without": None, "click rates": plain(history), "counters": history}
    for name, counters in arms.items():
        if counters is not None:
            write_counters(folder / name, counters)
        fit(
            shop,
            out=folder / "run",  # what all arms share is trained once
            split_file=shop / "split.parquet",
            config=with_settings({}, [*SETTINGS, f"seed={seed}"], where="benchmark"),
            cache_dir=args.cache,
            ctr=None if counters is None else folder / name,
        )
        bundle = Bundle.open(folder / "run" / "bundle", verify=False)
        report = bundle.manifest.metrics["ranker"]
        groups = report["groups"]
        found[name] = {
            "ndcg@20": report["test"]["ndcg@20"]["ranker" if report["adopted"] else "before"],
            "clicks": clicks_a_slot(bundle, town, by_scenario=False),
            "adopted": float(groups.get("ctr", {}).get("adopted", False)),
        }
        if name != "without":
            found[f"{name} by scenario"] = {**found[name], "clicks": clicks_a_slot(bundle, town, by_scenario=True)}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=800)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".recsys/cache"))
    takes_json(parser)
    args = parser.parse_args()
    towns = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            towns.append(measured(Path(folder), args, seed))
        print(json.dumps({"seed": seed, **towns[-1]}), flush=True)
    told: dict[str, Any] = {}
    for arm in towns[0]:
        told[arm] = {}
        for what in ("ndcg@20", "clicks"):
            values = np.array([town[arm][what] for town in towns])
            ratio = values / [town["without"][what] for town in towns]
            told[arm][what] = {
                "mean": round(float(values.mean()), 4),
                "over without": round(float(ratio.mean()), 3),
                "sd": round(float(sample_deviation(ratio)), 3),
            }
        told[arm]["adopted"] = f"{sum(town[arm]['adopted'] for town in towns):.0f} of {len(towns)}"
    print(json.dumps(told, indent=1))
    keep(args, {**told, "towns": towns})


if __name__ == "__main__":
    main()
