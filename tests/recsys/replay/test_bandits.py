from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recsys.replay.bandits import EXPLORE, LinUCB, play
from recsys.replay.log import Log
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import make_world

WORLD = make_world(n_items=5, n_groups=2, click_rate=0.2, seed=6)


@pytest.mark.parametrize("name", ["linucb", "thompson"])
def test_a_bandit_learns_beyond_the_uniform_policy_and_nears_the_best(name: str) -> None:
    log = simulate(WORLD, uniform(WORLD), 30_000, seed=1)
    played = play(name, log, seed=0, samples=100, level=0.95)
    blind = true_value(WORLD, uniform(WORLD))
    best = true_value(WORLD, tasteful(WORLD, strength=50, name="best"))
    assert played.learned > blind + 0.7 * (best - blind)
    assert played.estimate.value > blind
    assert 0.15 * len(log) < played.estimate.n_matched < 0.25 * len(log)
    assert played.estimate.low < played.estimate.value < played.estimate.high


def test_uneven_logging_is_thinned_to_even_before_it_is_learned_from() -> None:
    """Without thinning the kept slots would be more where the log liked the item; their rewards stay the same."""
    log = simulate(WORLD, tasteful(WORLD, strength=0.4, name="b"), 60_000, seed=2)
    even = simulate(WORLD, uniform(WORLD), 60_000, seed=3)
    found = [play("thompson", one, seed=0, samples=50, level=0.95) for one in (log, even)]
    assert abs(found[0].learned - found[1].learned) < 0.03
    least = tasteful(WORLD, strength=0.4).table.min()
    assert found[0].estimate.n_matched == pytest.approx(60_000 * least, rel=0.1)


def test_linucb_is_ridge_regression_with_a_bonus() -> None:
    rng = np.random.default_rng(0)
    x, reward = rng.random((30, 3)), rng.random(30)
    bandit = LinUCB(2, 3)
    for row in range(30):
        bandit.learn(x[row], row % 2, reward[row])
    probe = rng.random(3)
    bounds = []
    for item in range(2):
        a = np.eye(3) + x[item::2].T @ x[item::2]
        theta = np.linalg.solve(a, x[item::2].T @ reward[item::2])
        bounds.append(theta @ probe + EXPLORE * np.sqrt(probe @ np.linalg.solve(a, probe)))
    assert bandit.choose(probe) == int(np.argmax(bounds))


def test_rewards_that_are_no_rates_are_refused_and_a_bandit_must_be_known(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1], [0, 5.0])
    with pytest.raises(ValueError, match=r"rewards in \[0, 1\], log tiny has up to 5"):
        play("thompson", log, seed=0, samples=10, level=0.95)
    with pytest.raises(ValueError, match="a bandit must be one of"):
        play("exp3", log, seed=0, samples=10, level=0.95)
