"""Estimators of whole lists: which are right where readers go down them, and what they assume."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.plackett_luce import PlackettLuce
from recsys.replay.policy import Logged, TablePolicy
from recsys.replay.simulator.policies import tasteful, tasteful_lists
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import make_world

QUICK = ReplayConfig(bootstrap_samples=20, segments=False)


def test_lists_without_repeats_are_judged_given_what_stands_above() -> None:
    """Truth by playing the policy itself; the log's propensities are those of the next item."""
    world = make_world(n_items=6, n_groups=2, n_positions=3, clicks="dbn", click_rate=0.2, seed=2)
    behavior = tasteful_lists(world, strength=0.3, name="b")
    target = tasteful_lists(world, strength=1.2, name="t")
    truth = simulate(world, target, 200_000, seed=5).reward.mean()
    log = simulate(world, behavior, 40_000, seed=6)
    assert log.given_above
    found = replay(log, [target], config=QUICK).policies["t"]
    for name in ("reward_interaction", "cascade_dr", "standard", "sn_standard", "auto"):
        assert abs(found.estimators[name].value - truth) < 4 * found.estimators[name].standard_error + 0.002, name
    assert math.isnan(found.estimators["independent"].value)
    assert "given the slots above" in found.estimators["independent"].note
    assert isinstance(target, PlackettLuce)


def test_with_the_probability_of_a_slot_overall_lists_are_judged_slot_by_slot() -> None:
    """Position-based clicks: the independent estimators are right, and quieter than the whole list's."""
    world = make_world(n_items=6, n_groups=2, n_positions=3, click_rate=0.2, seed=2)
    behavior, target = tasteful_lists(world, strength=0.3, name="b"), tasteful_lists(world, strength=1.2, name="t")
    truth = true_value(world, target)
    log = simulate(world, behavior, 20_000, seed=6)
    marginal = behavior.of_logged(log.rows(slice(0, len(log))), given_above=False)
    marginal[::1000] = np.nan
    log = replace(log, marginal=marginal)
    found = replay(log, [target], config=QUICK.model_copy(update={"clicks": "slot"})).policies["t"]
    w = target.of_logged(log.rows(slice(0, len(log))), given_above=False) / marginal
    assert found.estimators["independent"].value == pytest.approx(np.nansum(w * log.reward) / len(log))
    for name in ("independent", "sn_independent", "independent_dr"):
        assert abs(found.estimators[name].value - truth) < 4 * found.estimators[name].standard_error + 0.001, name
    assert found.estimators["independent"].standard_error < 0.7 * found.estimators["standard"].standard_error
    assert found.chosen["auto"] in ("sn_independent", "independent_dr")
    assert found.verdict.label == "trustworthy"


def test_where_a_click_depends_on_what_stands_above_the_slot_by_slot_estimators_are_contradicted() -> None:
    world = make_world(n_items=6, n_groups=1, n_positions=4, clicks="cascade", click_rate=0.4, seed=2)
    behavior, target = tasteful_lists(world, strength=0.0, name="b"), tasteful_lists(world, strength=0.8, name="t")
    truth = simulate(world, target, 200_000, seed=5).reward.mean()
    log = simulate(world, behavior, 60_000, seed=6)
    log = replace(log, marginal=behavior.of_logged(log.rows(slice(0, len(log))), given_above=False))
    found = replay(log, [target], config=QUICK.model_copy(update={"clicks": "slot"})).policies["t"]
    assert abs(found.estimators["independent"].value - truth) > 0.01
    assert found.chosen["auto"] in ("cascade_dr", "sn_reward_interaction", "sn_standard")
    assert abs(found.estimators["auto"].value - truth) < 4 * found.estimators["auto"].standard_error + 0.001


def test_where_readers_go_down_the_list_the_headline_covers_as_it_says() -> None:
    """Slot by slot the truth is missed in most logs, and yet not contradicted in each: nothing is granted unasked."""
    world = make_world(n_items=10, n_groups=2, n_positions=4, clicks="dbn", click_rate=0.15, seed=3)
    behavior, target = tasteful(world, strength=0.5, name="b"), tasteful(world, strength=1.2, noise=0.2, name="t")
    truth = true_value(world, target)
    held = {"auto": 0, "sn_independent": 0}
    for seed in range(150):
        log = simulate(world, behavior, 2_000, seed=seed)
        judged = replay(log, [target], config=QUICK.model_copy(update={"seed": seed})).policies["t"]
        assert judged.chosen["auto"] in ("cascade_dr", "sn_reward_interaction", "sn_standard")
        for name in held:
            low, high = judged.estimators[name].intervals["student_t"]
            held[name] += low <= truth <= high
    assert held["auto"] >= 0.91 * 150
    assert held["sn_independent"] < 0.8 * 150


def test_an_estimate_that_assumes_more_than_was_granted_is_never_trustworthy() -> None:
    """Lists of the best items match whole lists of the log in a handful of requests: slots alone are worth enough."""
    world = make_world(n_items=12, n_groups=1, n_positions=4, click_rate=0.3, seed=2)
    behavior = tasteful_lists(world, strength=0.3, name="b")
    table = np.zeros((4, 12))
    table[np.arange(4), np.argsort(-world.attraction.mean(axis=0)[0])[:4]] = 1.0
    log = simulate(world, behavior, 3_000, seed=6)
    log = replace(log, marginal=behavior.of_logged(log.rows(slice(0, len(log))), given_above=False))
    best = TablePolicy("t", table)
    found = replay(log, [best], config=QUICK).policies["t"]
    assert found.estimators["cascade_dr"].effective_sample_size < 100
    assert found.chosen["auto"] in ("sn_independent", "independent_dr")
    assert found.verdict.label == "wide"
    assert "each slot by itself" in found.verdict.reasons[0]
    granted = replay(log, [best], config=QUICK.model_copy(update={"clicks": "slot"})).policies["t"]
    assert "each slot by itself" not in " ".join(granted.verdict.reasons)


def test_the_logging_policy_of_lists_without_repeats_earned_what_was_observed() -> None:
    world = make_world(n_items=6, n_groups=2, n_positions=3, click_rate=0.2, seed=2)
    behavior = tasteful_lists(world, strength=0.8, name="b")
    log = simulate(world, behavior, 2_000, seed=6)
    log = replace(log, marginal=behavior.of_logged(log.rows(slice(0, len(log))), given_above=False))
    found = replay(log, [Logged(log)], config=QUICK).policies["logged"]
    assert found.chosen["auto"] == "ips"
    for name in ("auto", "snips", "independent", "sn_independent", "reward_interaction", "sn_standard"):
        assert found.estimators[name].value == pytest.approx(log.reward.mean()), name
