from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from features.errors import InputError
from recsys.cli import build_app
from recsys.replay.choosing import make_policy
from recsys.replay.console import tables
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.policy import Logged
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import World, make_world

SHOP = make_world(n_items=6, n_groups=2, click_rate=0.2, seed=4)


def frame_of(log: Log, policy: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": [log.items[row] for row in log.item_idx],
            "click": log.reward.astype(int),
            "propensity": log.propensity,
            "policy": policy,
            "kind": [log.groups[row] for row in log.group],
            "timestamp": log.timestamp,
        }
    )


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies' traffic in one shop."""
    path = tmp_path_factory.mktemp("log") / "impressions.parquet"
    parts = [
        frame_of(simulate(SHOP, policy, 20_000, seed=seed), policy.name)
        for seed, policy in enumerate((uniform(SHOP), tasteful(SHOP, strength=1.0, name="liked")))
    ]
    pd.concat(parts, ignore_index=True).to_parquet(path)
    return path


def run(*args: str) -> str:
    result = CliRunner().invoke(
        build_app(), ["replay", "--samples", "200", *args], catch_exceptions=False, env={"COLUMNS": "140"}
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_the_json_holds_every_log_policy_and_estimator(logged: Path, tmp_path: Path) -> None:
    out = tmp_path / "replay.json"
    names = ("log:liked", "random", "popularity~0.1", "best@0.5")
    options = [part for name in names for part in ("--policy", name)]
    output = run("--log", str(logged), *options, "--against", "logged", "--group", "kind", "--json", str(out))
    found = orjson.loads(out.read_bytes())
    assert list(found["logs"]) == ["liked", "uniform"]
    policies = found["logs"]["uniform"]["policies"]
    assert list(policies) == [*names, "logged"]
    ips = policies["log:liked"]["estimators"]["ips"]
    assert {"value", "low", "high", "n_matched", "effective_sample_size"} <= set(ips)
    assert set(ips["intervals"]) == {"bootstrap", "student_t", "empirical_bernstein", "hoeffding"}
    for name in ("replay", "clipped_ips", "snips", "dm", "dr", "sndr", "switch_dr", "dros", "mrdr", "mips", "auto"):
        assert name in policies["log:liked"]["estimators"], name
    assert policies["log:liked"]["verdict"] in ("trustworthy", "wide")
    assert policies["log:liked"]["against"]["probability_better"] > 0.99
    assert policies["logged"]["against"] is None
    assert "trustworthy" in output
    assert "policies that learn saw the first 25%" in found["logs"]["uniform"]["notes"][0]


def test_each_log_judges_the_other_ones_policy_within_its_interval(logged: Path, tmp_path: Path) -> None:
    out = tmp_path / "replay.json"
    run("--log", str(logged), "--policy", "log:liked", "--policy", "log:uniform", "--group", "kind", "--json", str(out))
    found = orjson.loads(out.read_bytes())["logs"]
    for log, policy, truth in (
        ("uniform", "log:liked", true_value(SHOP, tasteful(SHOP, strength=1.0))),
        ("liked", "log:uniform", true_value(SHOP, uniform(SHOP))),
    ):
        judged = found[log]["policies"][policy]
        low, high = judged["estimators"]["auto"]["low"], judged["estimators"]["auto"]["high"]
        assert low - 0.003 <= truth <= high + 0.003
        assert {part["label"] for part in judged["segments"]["group"]} == set(SHOP.groups)
        assert len(judged["over_time"]) == 20


def test_the_same_seed_gives_the_same_json(logged: Path, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        run("--log", str(logged), "--policy", "random", "--json", str(tmp_path / name))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_refused_rows_are_counted_and_written(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = "".join(f"{'ab'[n % 2]},{n % 3 == 0:d},0.5\n" for n in range(300))
    log.write_text("item_id,click,propensity\n" + rows + "a,1,9\n")
    output = run("--log", str(log), "--policy", "random", "--quarantine", str(tmp_path / "q.jsonl"))
    assert "1 rows were refused" in output
    assert orjson.loads((tmp_path / "q.jsonl").read_bytes())["rule"] == "propensity must be in (0, 1]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "nonsense"], "unknown policy 'nonsense'"),
        (["--policy", "random~2"], r"a share must be in \[0, 1\]"),
        (["--policy", "best@0"], "a temperature must be > 0"),
        (["--policy", "random@2"], "have scores for a temperature"),
        (["--policy", "random~~"], "a policy must look like"),
        (["--policy", "log:nobody"], "no log of that name shares items"),
        (["--policy", "best", "--learn", "1"], "--learn must be between 0 and 1"),
        (["--policy", "random", "--column", "click"], "--column must look like"),
        (["--policy", "random", "--level", "2"], "--level"),
        (["--policy", "random", "--unit", "planet"], "--unit"),
        (["--policy", "random", "--worth", "much"], "an event is worth"),
    ],
)
def test_a_mistake_is_named(logged: Path, options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("--log", str(logged), *options)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        run("--log", str(tmp_path / "none.csv"), "--policy", "random")


def test_the_best_of_earlier_traffic_beats_the_log_on_later_traffic() -> None:
    world: World = SHOP
    log = simulate(world, uniform(world), 40_000, seed=5)
    early = log.request_idx < 10_000
    policy = make_policy("best", log, learned_from=log.where(early), others=[])
    found = replay(log.where(~early), [policy]).policies["best"]
    truth = true_value(world, policy)  # type: ignore[arg-type]
    assert truth > 1.2 * true_value(world, uniform(world))
    assert abs(found.estimators["auto"].value - truth) < 4 * found.estimators["auto"].standard_error
    assert np.isfinite(found.estimators["replay"].value)


def test_in_a_narrow_terminal_names_give_way_and_numbers_do_not() -> None:
    log = simulate(SHOP, uniform(SHOP), 3_000, seed=5)
    policy = tasteful(SHOP, strength=0.5, name="a-policy-of-a-long-name")
    found = replay(log, [policy, Logged(log)], against="logged", config=ReplayConfig(bootstrap_samples=100))
    console = Console(width=80, record=True, file=io.StringIO())
    for shown in tables(found, every=True):
        console.print(shown)
    told = console.export_text()
    assert "…" not in told
    for estimate in found.policies[policy.name].estimators.values():
        assert f"{estimate.value:.5f}" in told


@pytest.mark.parametrize("name", ["days", "days.v2", "log.parquet"])
def test_a_log_that_is_not_there_is_refused_as_missing_whatever_its_ending(tmp_path: Path, name: str) -> None:
    asked = CliRunner().invoke(build_app(), ["replay", "--log", str(tmp_path / name), "--policy", "random"])
    assert isinstance(asked.exception, InputError)
    assert str(asked.exception) == (
        f"{tmp_path / name} does not exist: a log is a table of shown slots, or a folder that holds one"
    )
