from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from recsys.replay.simulator.policies import tasteful, tasteful_lists
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import ClickModel, make_world


@pytest.mark.parametrize("clicks", get_args(ClickModel))
def test_the_truth_is_what_traffic_converges_to(clicks: ClickModel) -> None:
    world = make_world(n_items=7, n_positions=3, clicks=clicks, drift=1.5, selection=1.0, click_rate=0.2, seed=3)
    policy = tasteful(world, strength=1.0, name="t")
    log = simulate(world, policy, 100_000, seed=4)
    of_request = log.reward.reshape(-1, 3).mean(axis=1)
    assert abs(of_request.mean() - true_value(world, policy)) < 3.5 * of_request.std() / math.sqrt(100_000)


def test_lists_have_a_closed_form_where_slots_are_read_by_themselves_only() -> None:
    world = make_world(n_items=5, n_positions=2, seed=3)
    policy = tasteful_lists(world, strength=1.0)
    log = simulate(world, policy, 100_000, seed=4)
    assert abs(log.reward.mean() - true_value(world, policy)) < 0.003
    assert (log.item_idx[::2] != log.item_idx[1::2]).all()
    with pytest.raises(ValueError, match="no closed form"):
        true_value(make_world(n_items=5, n_positions=2, clicks="cascade"), policy)


def test_a_cascade_ends_at_the_first_click() -> None:
    world = make_world(n_positions=4, clicks="cascade", click_rate=0.4, seed=1)
    log = simulate(world, tasteful(world, strength=1), 3000, seed=2)
    assert set(log.reward.reshape(-1, 4).sum(axis=1).tolist()) == {0.0, 1.0}


def test_the_same_seed_gives_the_same_traffic() -> None:
    world = make_world(seed=1)
    one, same, other = (simulate(world, tasteful(world, strength=1), 500, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.item_idx, same.item_idx)
    np.testing.assert_array_equal(one.reward, same.reward)
    assert not np.array_equal(one.item_idx, other.item_idx)


def test_logged_propensities_are_how_often_items_are_drawn() -> None:
    world = make_world(n_items=4, n_groups=2, seed=1)
    log = simulate(world, tasteful(world, strength=1), 50_000, seed=2)
    for group in range(2):
        for item in range(4):
            of_group = log.group == group
            shown = of_group & (log.item_idx == item)
            chance = log.propensity[shown][0]
            assert abs(shown.sum() / of_group.sum() - chance) < 4 * math.sqrt(chance / of_group.sum())


def test_tastes_drift_and_the_mix_of_visitors_changes() -> None:
    still, moving = make_world(seed=1), make_world(drift=2.0, selection=2.0, seed=1)
    assert (still.attraction[0] == still.attraction[-1]).all()
    assert abs(moving.attraction[0] - moving.attraction[-1]).min() > 0.01
    assert moving.group_share[0, 0] > 0.5 > moving.group_share[-1, 0]
