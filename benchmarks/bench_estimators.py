"""How right estimators are: bias, spread, error and coverage over simulated logs whose truth is known exactly.

    .venv/bin/python benchmarks/bench_estimators.py --logs 1000 --json estimators.json

Each world is replayed on `--logs` logs drawn anew. "bias" is over its standard error in "z": within 2 for what is
unbiased, in 19 of 20 cases. Of a hundred cases five lie outside by chance, so all unbiased ones of all worlds are also
held against the largest |z| that chance allows in as many (Šidák 1967, at 5%; they see the same logs and err together,
which makes the bound safe). "coverage" is the share of 95% intervals that hold the truth, bootstrap and Student-t.
"n x MSE" should stay the same from one log size to the next. Finished worlds are kept in --json and not run again.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from figures import keep, takes_json
from numpy.typing import NDArray
from scipy import stats

from features.progress import bar
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.policy import TablePolicy
from recsys.replay.simulator.policies import tasteful, tasteful_lists, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import World, make_world

UNBIASED = {
    "single": ("replay", "ips", "dr", "mrdr", "snips", "sndr"),
    "position": ("independent", "independent_dr", "reward_interaction", "cascade_dr", "standard"),
    "cascade": ("reward_interaction", "cascade_dr", "standard"),
    "dbn": ("reward_interaction", "cascade_dr", "standard"),
    "repeats": ("reward_interaction", "cascade_dr", "standard"),
}
"""By a word of the world's name, what must be right on average there; ratios up to a bias of order 1 / n."""


@dataclass(frozen=True)
class Case:
    """One world, who logs, who is judged, and how many requests a log has."""

    name: str
    world: World
    behavior: TablePolicy
    target: TablePolicy
    n_requests: int
    truth: float
    cluster_of: NDArray[np.int64] | None = None
    spoil: float = 1.0
    """The logged propensities are raised to this power: wrong where it is not 1."""


def cases() -> list[Case]:
    """Every world of the table."""
    found = []
    shop = make_world(n_items=20, n_groups=3, drift=1.0, selection=1.0, click_rate=0.1, seed=1)
    behavior, target = tasteful(shop, strength=0.7, name="b"), tasteful(shop, strength=2.0, noise=0.3, name="t")
    found += [
        Case(f"single slots, n={n}", shop, behavior, target, n, true_value(shop, target))
        for n in (2_500, 10_000, 40_000)
    ]
    found.append(Case("wrong propensities", shop, behavior, target, 10_000, true_value(shop, target), spoil=0.7))
    many = make_world(n_items=1000, n_groups=1, n_clusters=20, own_taste=0.0, click_rate=0.1, seed=2)
    sharp = tasteful(many, strength=3.0, noise=1.0, name="t")
    found.append(Case("1000 actions", many, uniform(many), sharp, 5_000, true_value(many, sharp), many.cluster_of))
    for clicks in ("position", "cascade", "dbn"):
        shop = make_world(n_items=10, n_groups=2, n_positions=4, clicks=clicks, click_rate=0.15, seed=3)
        behavior, target = tasteful(shop, strength=0.5, name="b"), tasteful(shop, strength=1.2, noise=0.2, name="t")
        found.append(Case(f"lists, {clicks} clicks", shop, behavior, target, 5_000, true_value(shop, target)))
    shop = make_world(n_items=10, n_groups=2, n_positions=4, clicks="position", click_rate=0.15, seed=4)
    lists = tasteful_lists(shop, strength=1.0, noise=0.2, name="t")
    behavior = tasteful_lists(shop, strength=0.5, name="b")
    found.append(Case("lists without repeats", shop, behavior, lists, 5_000, true_value(shop, lists)))
    return found


def judge(case: Case, n_logs: int, samples: int, first: int) -> dict[str, dict[str, float]]:
    """Every estimator on many logs of one world."""
    values: dict[str, list[float]] = {}
    covered: dict[str, list[tuple[bool, bool]]] = {}
    with bar(case.name, total=n_logs) as progress:
        for seed in range(first, first + n_logs):
            log: Log = simulate(case.world, case.behavior, case.n_requests, seed=seed)
            log.propensity[:] = log.propensity**case.spoil
            config = ReplayConfig(bootstrap_samples=samples, segments=False, seed=seed)
            found = replay(log, [case.target], config=config, cluster_of=case.cluster_of).policies["t"]
            for name, estimate in found.estimators.items():
                values.setdefault(name, []).append(estimate.value)
                covered.setdefault(name, []).append(
                    (
                        estimate.low <= case.truth <= estimate.high,
                        _within(estimate.intervals.get("student_t", (math.nan, math.nan)), case.truth),
                    )
                )
            progress.advance()
    rows = {}
    for name, found_values in values.items():
        v = np.array(found_values)
        if not np.isfinite(v).all():
            continue
        bias, spread = v.mean() - case.truth, v.std(ddof=1)
        mse = float(((v - case.truth) ** 2).mean())
        rows[name] = {
            "bias": float(bias),
            "z": float(bias / (spread / math.sqrt(n_logs))) if spread > 0 else math.nan,
            "sd": float(spread),
            "rmse": math.sqrt(mse),
            "n_mse": mse * case.n_requests,
            "coverage_bootstrap": float(np.mean([one for one, _ in covered[name]])),
            "coverage_student_t": float(np.mean([other for _, other in covered[name]])),
        }
    return rows


def _within(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def show(name: str, truth: float, rows: dict[str, dict[str, float]]) -> None:
    """One table."""
    print(f"\n{name}: truth {truth:.5f}")
    heads = f"{'bias':>9} {'z':>6} {'sd':>8} {'RMSE':>8} {'vs ips':>7} {'n x MSE':>8} {'bootstrap':>9} {'t':>6}"
    print(f"{'estimator':22} {heads}")
    for estimator, row in rows.items():
        print(
            f"{estimator:22} {row['bias']:+9.5f} {row['z']:+6.1f} {row['sd']:8.5f} {row['rmse']:8.5f} "
            f"{row['rmse'] / rows['ips']['rmse']:7.2f} {row['n_mse']:8.3f} {row['coverage_bootstrap']:9.1%} "
            f"{row['coverage_student_t']:6.1%}"
        )


def together(kept: dict[str, Any]) -> dict[str, float] | None:
    """All unbiased estimators of all worlds held against what chance allows; None where these worlds have none."""
    cases = [
        abs(world["rows"][name]["z"])
        for key, world in kept.items()
        for word, names in UNBIASED.items()
        if word in key
        for name in names
    ]
    if not cases:
        return None
    limit = float(stats.norm.isf((1 - 0.95 ** (1 / len(cases))) / 2))
    return {"cases": len(cases), "beyond_2": sum(z > 2 for z in cases), "largest": max(cases), "chance_allows": limit}


def main() -> None:
    """Run the worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=1000, help="logs a world")
    parser.add_argument("--samples", type=int, default=400, help="bootstrap resamples")
    parser.add_argument("--first", type=int, default=100_000, help="seed of the first log")
    parser.add_argument("--only", default="", help="worlds whose name holds this")
    takes_json(parser, "where results are kept, with machine and settings; what is there is not run again")
    options = parser.parse_args()
    worlds = cases()
    chosen = [case for case in worlds if options.only in case.name]
    if not chosen:
        names = ", ".join(repr(case.name) for case in worlds)
        parser.error(f"--only must be part of the name of a world ({names}), got {options.only!r}")
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.is_file():
        kept = json.loads(options.json.read_text())["worlds"]
    for case in chosen:
        key = f"{case.name}, {options.logs} logs"
        if key not in kept:
            kept[key] = {"truth": case.truth, "rows": judge(case, options.logs, options.samples, options.first)}
            keep(options, {"worlds": kept})
        show(case.name, kept[key]["truth"], kept[key]["rows"])
    told = together({key: world for key, world in kept.items() if key.endswith(f", {options.logs} logs")})
    keep(options, {"worlds": kept, "unbiased": told})
    if told is None:
        print("\nnone of these worlds has an estimator that must be right on average")
        return
    print(
        f"\n{told['cases']} unbiased cases: {told['beyond_2']} with |z| > 2 ({0.0455 * told['cases']:.1f} expected), "
        f"the largest {told['largest']:.2f}; chance allows {told['chance_allows']:.2f} in so many"
    )


if __name__ == "__main__":
    main()
