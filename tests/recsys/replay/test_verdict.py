from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.policy import Logged, Policy, TablePolicy
from recsys.replay.result import Judged
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.world import make_world
from recsys.replay.verdict import CANNOT

QUICK = ReplayConfig(bootstrap_samples=200, segments=False)


def judged(log: Log, policy: Policy) -> Judged:
    return replay(log, [policy], config=QUICK).policies[policy.name]


def test_a_large_log_with_exploration_is_trustworthy_and_a_short_one_wide() -> None:
    world = make_world(seed=1)
    policy = tasteful(world, strength=0.5, name="t")
    assert judged(simulate(world, uniform(world), 40_000, seed=1), policy).verdict.label == "trustworthy"
    short = judged(simulate(world, uniform(world), 2000, seed=1), policy).verdict
    assert short.label == "wide"
    assert "of the value" in short.reasons[0]
    assert short.impressions is not None
    again = judged(simulate(world, uniform(world), short.impressions * 5 // 4, seed=2), policy)
    assert again.verdict.label == "trustworthy"


def test_a_log_without_exploration_cannot_judge_another_policy_but_itself(make_log: Callable[..., Log]) -> None:
    rng = np.random.default_rng(0)
    item = rng.integers(2, size=5000)
    log = make_log(item, rng.random(5000) < 0.2, n_items=2, propensity=[1.0] * 5000)
    always = judged(log, TablePolicy("always first", np.array([[1.0, 0.0]])))
    assert always.verdict.label == CANNOT
    assert "100% of the slots were filled without exploration" in always.verdict.reasons[0]
    assert (always.verdict.exploration_rate, always.diagnostics.sure_share) == (0.1, 1.0)  # type: ignore[union-attr]
    assert judged(log, Logged(log)).verdict.label == "trustworthy"


def test_a_mean_weight_that_chance_may_explain_is_no_reason(make_log: Callable[..., Log]) -> None:
    """120 slots without exploration, in which the policy agrees, and 80 drawn evenly, of which 34 are the policy's."""
    item = np.array([0] * 120 + [0] * 34 + [1] * 46)
    chance = np.array([1.0] * 120 + [0.5] * 80)
    group = np.array([0] * 120 + [1] * 80)
    reward = np.arange(200) % 3 == 0
    log = make_log(item, reward, n_items=2, propensity=chance, group=group, groups=("sure", "drawn"))
    found = judged(log, TablePolicy("first", np.array([[1.0, 0.0]] * 2)))
    assert found.diagnostics is not None
    assert (found.diagnostics.mean_weight, found.diagnostics.sure_share) == pytest.approx((0.94, 0.6))
    assert found.diagnostics.mean_weight_error == pytest.approx(0.045, abs=0.01)
    assert found.verdict.label == "wide"


def test_the_exploration_that_is_asked_for_makes_it_estimable(make_log: Callable[..., Log]) -> None:
    rng = np.random.default_rng(0)
    rate = np.array([0.3, 0.2, 0.25])
    n = 3000
    log = make_log([0] * n, rng.random(n) < rate[0], propensity=[1.0] * n)
    target = TablePolicy("second", np.array([[0.0, 1.0, 0.0]]))
    verdict = judged(log, target).verdict
    assert verdict.label == CANNOT
    assert verdict.impressions is not None
    explore = verdict.exploration_rate
    assert explore is not None
    n = 2 * verdict.impressions  # the other item is clicked less than the log could know
    chance = np.array([1 - explore, 0, 0]) + explore / 3
    item = rng.choice(3, size=n, p=chance)
    with_exploration = make_log(item, rng.random(n) < rate[item], propensity=chance[item])
    assert judged(with_exploration, target).verdict.label == "trustworthy"


def test_what_was_never_shown_cannot_be_judged(make_log: Callable[..., Log]) -> None:
    rng = np.random.default_rng(1)
    log = make_log(rng.integers(2, size=9000), rng.random(9000) < 0.3)
    found = judged(log, TablePolicy("third", np.array([[0.4, 0.4, 0.2]])))
    assert found.verdict.label == CANNOT
    assert "20% of what the policy would show was never shown" in found.verdict.reasons[0]
    assert found.diagnostics is not None
    assert found.diagnostics.unsupported_share == pytest.approx(0.2)


def test_wrong_propensities_are_noticed_by_the_mean_weight() -> None:
    world = make_world(seed=1)
    log = simulate(world, uniform(world), 20_000, seed=1)
    log.propensity[:] = log.propensity * 0.8
    found = judged(log, tasteful(world, strength=0.5, name="t"))
    assert found.verdict.label == CANNOT
    assert "The mean weight is 1.2" in found.verdict.reasons[0]


def test_heavy_rows_without_a_click_are_luck_and_no_certainty(make_log: Callable[..., Log]) -> None:
    """Nine of ten of the policy's rows are one rare item that nobody has clicked yet: a narrow interval, and wrong."""
    rng = np.random.default_rng(2)
    n = 20_000
    item = (rng.random(n) < 0.01).astype(int)
    reward = (rng.random(n) < 0.01) & (item == 0)
    log = make_log(item, reward, n_items=2, propensity=np.where(item == 1, 0.01, 0.99))
    found = judged(log, TablePolicy("rare", np.array([[0.1, 0.9]])))
    assert found.verdict.label == CANNOT
    assert "rewarded; below 5" in found.verdict.reasons[0]


def test_one_row_that_carries_over_a_tenth_of_all_weight_is_named(make_log: Callable[..., Log]) -> None:
    reward = np.arange(500) % 2 == 0
    item = np.array([0] * 499 + [1])
    chance = np.array([0.9] * 499 + [0.00125])  # the last one weighs 80 among 499 that weigh 1
    log = make_log(item, reward, n_items=2, propensity=chance)
    found = judged(log, TablePolicy("t", np.array([[0.9, 0.1]])))
    assert found.verdict.label == CANNOT
    assert "One row carries 14% of all weight." in found.verdict.reasons


def test_estimated_propensities_are_said_and_never_trustworthy() -> None:
    world = make_world(seed=1)
    log = simulate(world, uniform(world), 40_000, seed=1)
    guessed = Log(**{**{name: getattr(log, name) for name in log.__dataclass_fields__}, "estimated": "counted"})
    verdict = judged(guessed, tasteful(world, strength=0.5, name="t")).verdict
    assert verdict.label == "wide"
    assert "estimates (counted)" in verdict.reasons[0]


def test_diagnostics_are_those_by_hand(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 0, 1, 1], [1, 0, 1, 0], n_items=4, position=[0, 1, 0, 1], propensity=[0.5, 0.25, 0.5, 0.5])
    policy = TablePolicy("t", np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    found = judged(log, policy).diagnostics
    assert found is not None
    w = np.array([2.0, 2.0, 0.0, 1.0])
    assert (found.n_rows, found.n_matched) == (4, 3)
    assert found.effective_sample_size == pytest.approx(25 / 9)
    assert found.mean_weight == pytest.approx(w.mean())
    assert (found.largest_weight, found.heaviest_share) == (2.0, pytest.approx(0.4))
    assert found.imbalance == pytest.approx(0.2)  # half the rows in either slot, weighted 0.4 and 0.6
    assert found.coverage == 0.5
    share = np.array([3, 1]) / 4
    assert found.evenness == pytest.approx(-(share * np.log(share)).sum() / np.log(4))
    assert sum(rows for _, rows in found.weight_histogram) == 4
    overlap = {label: (policy, shown) for label, policy, shown in found.overlap}
    assert overlap["over 10%"] == (1.0, 1.0)
    third = judged(log, TablePolicy("t", np.array([[0.75, 0, 0.25, 0]] * 2))).diagnostics
    assert third is not None
    assert {label: policy for label, policy, _ in third.overlap if policy} == {"never": 0.25, "over 10%": 0.75}
