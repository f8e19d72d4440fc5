from __future__ import annotations

import math

import pytest

from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.power import power_of
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import make_world


def test_rows_of_an_ab_test_are_those_of_the_textbook() -> None:
    """Rates of 10% and 11%, 80% power, two-sided 5%: 16 p (1 - p) / δ² an arm, near enough."""
    n, rate = 50_000, 0.1
    error = math.sqrt(rate * (1 - rate) / n)
    power = power_of(n_rows=n, value=rate, gap_error=math.nan, value_error=error, lift=0.1, level=0.95)
    assert power.by_replay is None
    assert power.by_ab_test == pytest.approx(2 * 15.7 * rate * (1 - rate) / 0.01**2, rel=0.01)
    assert power_of(n_rows=n, value=0.0, gap_error=1, value_error=1, lift=0.1, level=0.95).by_ab_test is None


def test_a_log_of_the_size_that_is_asked_for_finds_the_difference_in_four_of_five_cases() -> None:
    world = make_world(n_items=6, n_groups=1, click_rate=0.2, seed=3)
    even, liked = uniform(world), tasteful(world, strength=0.25, name="liked")
    lift = true_value(world, liked) / true_value(world, even) - 1
    config = ReplayConfig(bootstrap_samples=300, segments=False, lift=lift)
    pilot = replay(simulate(world, even, 5000, seed=0), [liked, even], against="uniform", config=config)
    power = pilot.policies["liked"].power
    assert power is not None
    assert power.by_replay is not None
    assert power.by_ab_test is not None
    assert power.by_replay < power.by_ab_test / 3  # the same rows judge both
    found = 0
    for seed in range(1, 51):
        log = simulate(world, even, power.by_replay, seed=seed)
        against = replay(log, [liked, even], against="uniform", config=config).policies["liked"].against
        assert against is not None
        found += against.low > 0
    assert 31 <= found <= 48
