"""Every estimator against a plain loop over rows, and against the truth of simulated shops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import FOLDS, Log
from recsys.replay.policy import TablePolicy
from recsys.replay.reward_model import RewardSums
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import make_world
from recsys.replay.survey import survey

QUICK = ReplayConfig(bootstrap_samples=20, segments=False)


def values_of(log: Log, policy: TablePolicy, **options: object) -> dict[str, float]:
    found = replay(log, [policy], config=QUICK, **options)  # type: ignore[arg-type]
    return {name: estimate.value for name, estimate in found.policies[policy.name].estimators.items()}


def test_single_slot_estimators_are_their_formulas_row_by_row() -> None:
    world = make_world(n_items=6, n_groups=2, seed=3)
    log = simulate(world, tasteful(world, strength=1, name="b"), 400, seed=4)
    policy = tasteful(world, strength=-1, name="t")
    rows = log.rows(slice(0, len(log)))
    on_log, (on_policy,) = survey(log, [policy])
    n, sums = len(log), {}
    for row in range(n):
        cell, item, fold, r = rows.cell[row], rows.item_idx[row], rows.fold[row], rows.reward[row]
        p, target = rows.propensity[row], policy.table[rows.cell[row]]
        w = target[item] / p
        q = on_log.values[fold, cell]
        v = sum(target[a] * q[a] for a in range(6))
        own = on_policy.values[fold, cell]
        e = target[item] / (on_log.shown[cell, item] / on_log.shown[cell].sum())
        for name, part in {
            "w": w, "wr": w * r, "v": v, "wd": w * (r - q[item]), "e": e, "er": e * r,
            "mrdr": sum(target[a] * own[a] for a in range(6)) + w * (r - own[item]),
        }.items():  # fmt: skip
            sums[name] = sums.get(name, 0.0) + part
    found = values_of(log, policy)
    assert found["ips"] == pytest.approx(sums["wr"] / n)
    assert found["snips"] == pytest.approx(sums["wr"] / sums["w"])
    assert found["dm"] == pytest.approx(sums["v"] / n)
    assert found["dr"] == pytest.approx((sums["v"] + sums["wd"]) / n)
    assert found["sndr"] == pytest.approx(sums["v"] / n + sums["wd"] / sums["w"])
    assert found["mrdr"] == pytest.approx(sums["mrdr"] / n)
    assert found["mips"] == pytest.approx(sums["er"] / n)
    assert found["snmips"] == pytest.approx(sums["er"] / sums["e"])


def test_families_run_from_no_limit_to_their_end() -> None:
    """Each level against the formula by hand, with the level that the data chose."""
    world = make_world(n_items=8, n_groups=1, seed=1)
    log = simulate(world, tasteful(world, strength=2, name="b"), 3000, seed=2)
    policy = tasteful(world, strength=-1, name="t")
    on_log, (on_policy,) = survey(log, [policy])
    rows = log.rows(slice(0, len(log)))
    w = policy.of_logged(rows, given_above=False) / rows.propensity
    v = policy.expected(rows, on_log.values, given_above=False)
    d = rows.reward - on_log.values[rows.fold, rows.cell, rows.item_idx]
    found = replay(log, [policy], config=QUICK).policies["t"]
    level = float(found.chosen["clipped_ips"].replace("no limit", "inf"))
    exact = on_policy.levels[np.argmin(abs(on_policy.levels - level))] if math.isfinite(level) else math.inf
    assert found.estimators["clipped_ips"].value == pytest.approx((np.minimum(w, exact) * rows.reward).mean())
    for family, shrink in {
        "switch_dr": lambda m: np.where(w <= m, w, 0),
        "dros": lambda m: m**2 * w / (w**2 + m**2),
    }.items():
        chosen = found.chosen[family]
        if chosen == "no limit":
            weight = w
        else:
            weight = shrink(float(on_policy.levels[np.argmin(abs(on_policy.levels - float(chosen)))]))
        assert found.estimators[family].value == pytest.approx((v + weight * d).mean()), family


def test_list_estimators_are_their_formulas_request_by_request() -> None:
    world = make_world(n_items=5, n_groups=2, n_positions=3, clicks="cascade", seed=5)
    log = simulate(world, tasteful(world, strength=0.5, name="b"), 300, seed=6)
    policy = tasteful(world, strength=1.5, name="t")
    on_log, _ = survey(log, [policy])
    rows = log.rows(slice(0, len(log)))
    slot = independent = interaction = whole = cascade = 0.0
    chains = 0.0
    for request in range(300):
        chain, total, later = 1.0, 0.0, []
        for place in range(3):
            row = 3 * request + place
            target = policy.table[rows.cell[row]]
            w = target[rows.item_idx[row]] / rows.propensity[row]
            q = on_log.values[rows.fold[row], rows.cell[row]]
            chain *= w
            slot += 1
            chains += chain
            independent += w * rows.reward[row]
            interaction += chain * rows.reward[row]
            cascade += target @ q + chain * (rows.reward[row] - q[rows.item_idx[row]])
            total += rows.reward[row]
            later.append(w)
        whole += math.prod(later) * total
    found = values_of(log, policy)
    assert found["independent"] == pytest.approx(independent / slot)
    assert found["reward_interaction"] == pytest.approx(interaction / slot)
    assert found["sn_reward_interaction"] == pytest.approx(interaction / chains)
    assert found["cascade_dr"] == pytest.approx(cascade / slot)
    assert found["standard"] == pytest.approx(whole / slot)


def test_the_logs_own_mean_is_recovered_exactly_by_its_own_propensities(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1, 2, 0], [1, 0, 0, 1], propensity=[0.1, 0.3, 0.6, 0.2])

    class Same(TablePolicy):
        def of_logged(self, rows, *, given_above):  # type: ignore[no-untyped-def]
            return rows.propensity

    assert values_of(log, Same("same", np.full((1, 3), 1 / 3)))["ips"] == 0.5


def test_replay_on_uniform_traffic_keeps_the_rows_that_match(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1, 2, 0, 1, 2], [1, 0, 0, 0, 1, 0], propensity=[1 / 3] * 6)
    always_first = TablePolicy("first", np.array([[1.0, 0, 0]]))
    found = replay(log, [always_first], config=QUICK).policies["first"].estimators["replay"]
    assert (found.value, found.n_matched) == (0.5, 2)


def test_no_overlap_is_undefined_and_not_zero(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1, 0, 1], [1, 1, 1, 1])
    never = TablePolicy("never", np.array([[0.0, 0, 1.0]]))
    judged = replay(log, [never], config=QUICK).policies["never"]
    for name in ("replay", "ips", "snips", "dr", "auto"):
        assert math.isnan(judged.estimators[name].value), name
        assert judged.estimators[name].n_matched == 0
    assert judged.verdict.label == "cannot be estimated from this log"


def test_the_reward_model_never_saw_a_rows_own_request() -> None:
    """Whatever a request's rewards are, what is expected of it stays the same."""
    world = make_world(n_items=4, n_groups=1, seed=0)
    log = simulate(world, uniform(world), 200, seed=1)
    before, _ = survey(log, [])
    rows = log.rows(slice(0, 200))
    log.reward[rows.fold == 2] = 7.0
    after, _ = survey(log, [])
    np.testing.assert_array_equal(after.values[2], before.values[2])
    assert not np.array_equal(after.values[1], before.values[1])


def test_smoothing_pulls_rare_items_to_the_mean_and_leaves_frequent_ones(make_log: Callable[..., Log]) -> None:
    n = 20_000
    items = [0] * (n // 2) + [1] * (n // 2 - 1) + [2]
    reward = np.random.default_rng(0).random(n) < np.where(np.array(items) == 0, 0.2, 0.1)
    reward[-1] = True
    log = make_log(items, reward.astype(float))
    sums = RewardSums(1, 3)
    sums.add(log.rows(slice(0, n)))
    found = sums.values()
    assert found.shape == (FOLDS, 1, 3)
    assert found[:, 0, 0] == pytest.approx(0.2, abs=0.02)
    assert found[:, 0, 1] == pytest.approx(0.1, abs=0.02)
    assert (found[:, 0, 2] < 0.4).all()


UNBIASED = ("ips", "snips", "dr", "sndr", "mrdr", "mips", "replay")


def test_unbiased_estimators_are_right_on_average_and_dr_where_either_model_is_wrong() -> None:
    world = make_world(n_items=10, n_groups=2, drift=1.0, seed=7)
    behavior, target = tasteful(world, strength=0.7, name="b"), tasteful(world, strength=-0.7, name="t")
    truth = true_value(world, target)
    found = {name: np.zeros(200) for name in UNBIASED}
    for seed in range(200):
        log = simulate(world, behavior, 2000, seed=seed)
        judged = replay(log, [target], config=QUICK.model_copy(update={"seed": seed})).policies["t"]
        for name in UNBIASED:
            found[name][seed] = judged.estimators[name].value
    for name, values in found.items():
        error = values.std(ddof=1) / math.sqrt(200)
        assert abs(values.mean() - truth) < 2.6 * error, name  # seven at once: 2.6 instead of 2
    assert (
        abs(values_of(simulate(world, uniform(world), 60_000, seed=1), behavior)["dr"] - true_value(world, behavior))
        < 0.01
    )


def test_dr_stays_right_with_wrong_propensities_or_a_wrong_model() -> None:
    world = make_world(n_items=6, n_groups=1, click_rate=0.3, seed=8)
    behavior, target = tasteful(world, strength=1.5, name="b"), tasteful(world, strength=-1.5, name="t")
    truth = true_value(world, target)
    log = simulate(world, behavior, 60_000, seed=3)
    # wrong propensities, right model
    wrong = np.clip(log.propensity**0.5, None, 1.0)
    right = log.propensity.copy()
    log.propensity[:] = wrong
    values = values_of(log, target)
    assert abs(values["ips"] - truth) > 0.05
    assert values["dr"] == pytest.approx(truth, abs=0.01)
    # right propensities, a model that mistakes one item for the other
    log.propensity[:] = right
    on_log, _ = survey(log, [target])
    rows = log.rows(slice(0, len(log)))
    values_wrong = on_log.values[:, :, ::-1]
    w = target.of_logged(rows, given_above=False) / rows.propensity
    dm = target.expected(rows, values_wrong, given_above=False)
    dr = dm + w * (rows.reward - values_wrong[rows.fold, rows.cell, rows.item_idx])
    assert abs(dm.mean() - truth) > 0.05
    assert dr.mean() == pytest.approx(truth, abs=0.015)


def test_mips_beats_ips_with_many_like_items() -> None:
    world = make_world(n_items=500, n_clusters=10, own_taste=0.0, n_groups=1, seed=9)
    behavior, target = uniform(world), tasteful(world, strength=3.0, noise=1.0, name="t")
    truth = true_value(world, target)
    errors = {"ips": [], "mips": []}  # type: ignore[var-annotated]
    for seed in range(40):
        values = values_of(simulate(world, behavior, 2000, seed=seed), target, cluster_of=world.cluster_of)
        for name, found in errors.items():
            found.append((values[name] - truth) ** 2)
    assert np.mean(errors["mips"]) < 0.7 * np.mean(errors["ips"])


def test_clusters_are_not_counted_where_the_log_looked_at_more_than_position_and_group() -> None:
    """The same traffic with its groups hidden: cluster shares would be wrong, and are not used."""
    world = make_world(n_items=8, n_groups=2, seed=3)
    target = TablePolicy("t", np.tile(np.arange(1.0, 9.0) / 36, (2, 1)))
    log = simulate(world, tasteful(world, strength=2, name="b"), 4000, seed=1)
    assert math.isfinite(values_of(log, target)["mips"])
    hidden = replace(log, group=np.zeros_like(log.group), groups=("all",))
    found = replay(hidden, [TablePolicy("t", target.table[:1])], config=QUICK).policies["t"].estimators
    assert math.isnan(found["mips"].value)
    assert "position and group do not explain" in found["mips"].note
    assert math.isfinite(found["ips"].value)
