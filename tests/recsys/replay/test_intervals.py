from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from recsys.replay.choice import slope
from recsys.replay.comparison import compare
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.intervals import Estimate, empirical_bernstein, hoeffding, student_t
from recsys.replay.log import Log
from recsys.replay.monitoring import ratio, sequence
from recsys.replay.parts import false_discovery, parts
from recsys.replay.policy import Logged, TablePolicy
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.truth import true_value
from recsys.replay.simulator.world import make_world
from recsys.replay.tally import BUCKETS, PARTS, Grouping


def test_intervals_are_those_of_the_textbook() -> None:
    assert hoeffding(0.5, 200, 1.0, 0.95) == pytest.approx((0.5 - 0.0960, 0.5 + 0.0960), abs=1e-4)
    log_term = math.log(80)
    half = 0.02 * math.sqrt(2 * log_term) + 7 * log_term / (3 * 399)
    assert empirical_bernstein(0.3, 0.02, 400, 1.0, 0.95) == pytest.approx((0.3 - half, 0.3 + half))
    assert student_t(1.0, 0.1, 11, 0.95) == pytest.approx((1 - 0.2228, 1 + 0.2228), abs=1e-4)
    assert all(math.isnan(end) for end in (*student_t(1.0, 0.1, 1, 0.95), *hoeffding(1.0, 9, math.nan, 0.95)))


@pytest.mark.parametrize("unit", ["request", "user"])
def test_what_is_resampled_are_whole_requests_or_users(make_log: Callable[..., Log], unit: str) -> None:
    """Ten equal rows of each of 100 users: as wide as 100 rows, not as 1000."""
    rng = np.random.default_rng(0)
    reward = np.repeat(rng.random(100), 10)
    request = np.repeat(np.arange(100), 10) if unit == "request" else np.arange(1000)
    log = make_log([0] * 1000, reward, request=request, user=np.repeat(np.arange(100), 10))
    config = ReplayConfig(bootstrap_samples=4000, unit=unit, segments=False)  # type: ignore[arg-type]
    estimate = replay(log, [Logged(log)], config=config).policies["logged"].estimators["ips"]
    error = reward[::10].std(ddof=1) / 10
    assert estimate.standard_error == pytest.approx(error, rel=0.02)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * error, rel=0.06)


def test_a_few_requests_have_the_error_of_a_sample(make_log: Callable[..., Log]) -> None:
    reward = [0.0, 1.0, 0.0, 3.0]
    log = make_log([0] * 4, reward)
    estimate = replay(log, [Logged(log)], config=ReplayConfig(segments=False)).policies["logged"].estimators["ips"]
    assert estimate.standard_error == pytest.approx(np.std(reward, ddof=1) / 2)


def test_ratios_have_the_error_of_their_linearization() -> None:
    world = make_world(seed=1)
    log = simulate(world, uniform(world), 5000, seed=2)
    target = tasteful(world, strength=1, name="t")
    config = ReplayConfig(bootstrap_samples=3000, segments=False)
    estimate = replay(log, [target], config=config).policies["t"].estimators["snips"]
    w = target.of_logged(log.rows(slice(0, 5000)), given_above=False) / log.propensity
    by_hand = math.sqrt((w**2 * (log.reward - estimate.value) ** 2).sum()) / w.sum()
    assert estimate.standard_error == pytest.approx(by_hand, rel=0.01)
    assert estimate.replicates.std() == pytest.approx(by_hand, rel=0.06)
    assert estimate.effective_sample_size == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_a_log_longer_than_the_buckets_has_the_same_error() -> None:
    world = make_world(seed=1)
    log = simulate(world, uniform(world), 3 * BUCKETS, seed=2)
    config = ReplayConfig(bootstrap_samples=500, segments=False)
    estimate = replay(log, [Logged(log)], config=config).policies["logged"].estimators["ips"]
    assert estimate.standard_error == pytest.approx(log.reward.std() / math.sqrt(len(log)), rel=0.03)
    assert estimate.replicates.std() == pytest.approx(estimate.standard_error, rel=0.12)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    world = make_world(n_items=8, n_groups=1, click_rate=0.3, seed=2)
    target = tasteful(world, strength=1, name="t")
    truth, covered = (
        true_value(world, target),
        {"bootstrap": 0, "student_t": 0, "empirical_bernstein": 0, "hoeffding": 0},
    )
    config = ReplayConfig(bootstrap_samples=300, segments=False)
    for seed in range(150):
        log = simulate(world, uniform(world), 1500, seed=seed)
        intervals = replay(log, [target], config=config).policies["t"].estimators["ips"].intervals
        for name in covered:
            covered[name] += intervals[name][0] <= truth <= intervals[name][1]
    assert 0.90 * 150 <= covered["bootstrap"] <= 0.99 * 150
    assert 0.90 * 150 <= covered["student_t"] <= 0.99 * 150
    assert covered["empirical_bernstein"] >= 0.97 * 150
    assert covered["hoeffding"] == 150


def test_the_difference_of_two_policies_is_taken_resample_by_resample() -> None:
    world = make_world(seed=1)
    log = simulate(world, uniform(world), 20_000, seed=2)
    better, worse = tasteful(world, strength=0.6, name="better"), tasteful(world, strength=0.5, name="worse")
    found = replay(log, [better, worse], against="worse", config=ReplayConfig(segments=False)).policies
    against = found["better"].against
    assert against is not None
    one, other = found["better"].estimators["auto"], found["worse"].estimators["auto"]
    assert against.difference == pytest.approx(one.value - other.value)
    assert against.high - against.low < 0.3 * (one.high - one.low)  # they err together
    assert against.probability_better > 0.99
    assert found["worse"].against is None
    same = compare(one, one, policy="x", estimator="ips", level=0.95)
    assert (same.difference, same.probability_better) == (0, 0.5)
    assert math.isnan(compare(one, Estimate(math.nan), policy="x", estimator="ips", level=0.95).probability_better)


def test_the_choice_is_the_quietest_that_nothing_less_biased_contradicts() -> None:
    """All share half of their noise; what is held against the difference is the noise that they do not share."""
    noise = np.linalg.qr(np.random.default_rng(0).standard_normal((400, 5)))[0] * math.sqrt(399)
    noise -= noise.mean(axis=0)

    def estimate(value: float, common: float, own: float, which: int) -> Estimate:
        replicates = value + common * noise[:, 0] + own * noise[:, which]
        return Estimate(value, standard_error=math.hypot(common, own), replicates=replicates)

    noisy, quiet, quieter = estimate(1.0, 0.3, 0.3, 1), estimate(1.2, 0.3, 0.1, 2), estimate(1.1, 0.3, 0.0, 3)
    assert slope([noisy, quiet, quieter]) == 2
    assert slope([noisy, quiet, estimate(0.7, 0.3, 0.0, 3)]) == 1  # 0.5 from the second, whose own noise is 0.1
    assert slope([noisy, estimate(1.0, 0.3, 0.4, 2), estimate(1.1, 0.3, 0.35, 3)]) == 0  # no contradiction, no gain
    undefined = Estimate(math.nan)
    assert slope([undefined, noisy]) == 1
    assert slope([undefined]) == -1


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    assert false_discovery([0.01, 0.04, math.nan, 0.03, 0.5]) == pytest.approx(
        [0.04, 0.04 * 4 / 3, math.nan, 0.04 * 4 / 3, 0.5], nan_ok=True
    )
    assert false_discovery([]) == []


def test_a_part_is_judged_by_its_own_rows(make_log: Callable[..., Log]) -> None:
    rng = np.random.default_rng(3)
    n = 4000
    log = make_log(
        rng.integers(2, size=n), rng.random(n) < 0.3, n_items=2, propensity=[0.5] * n, group=np.arange(n) % 2,
        groups=("a", "b"),
    )  # fmt: skip
    policy = TablePolicy("t", np.array([[0.9, 0.1], [0.2, 0.8]]))
    kinds = Grouping("kind", ("x", "y"), lambda rows: np.where(rows.request_idx < 1000, 0, 1))
    found = replay(log, [policy], groupings=[kinds]).policies["t"]
    part = found.parts["kind"][0]
    w = policy.table[log.group[:1000], log.item_idx[:1000]] / 0.5
    r = log.reward[:1000]
    value = (w * r).sum() / w.sum()
    residual = w * (r - value) / w.sum() - (r - r.mean()) / 1000
    assert (part.label, part.n) == ("x", 1000)
    assert (part.value, part.logged) == (pytest.approx(value), pytest.approx(r.mean()))
    z = abs(value - r.mean()) / math.sqrt((residual**2).sum())
    assert part.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))
    groups = [sum(part.n for part in found.parts[name]) for name in ("group", "time", "kind")]
    assert groups == [n, n, n]


def test_a_part_without_rows_is_undefined() -> None:
    (part,) = parts(["empty"], np.zeros((len(PARTS), 1)))
    assert part.n == 0
    assert math.isnan(part.value)
    assert math.isnan(part.p_value)


def test_the_sequence_holds_at_every_look_where_ordinary_intervals_do_not() -> None:
    """Twenty looks at fair coins: pointwise 95% intervals miss somewhere in about a third of the runs."""
    rng = np.random.default_rng(4)
    missed = {"sequence": 0, "pointwise": 0}
    for _ in range(300):
        r = (rng.random(4000) < 0.5).astype(float)
        w = np.ones_like(r)
        columns = np.stack([w, r, w, w * r, r * r, w * w, (w * r) ** 2, w * w * r, r * w, r * w * r])
        stretches = columns.reshape(len(PARTS), 20, 200).sum(axis=2)
        moments = sequence(stretches, list(range(20)), level=0.95, expected_rows=4000)
        missed["sequence"] += any(not moment.low <= 0.5 <= moment.high for moment in moments)
        running = np.cumsum(stretches, axis=1)
        for look in range(20):
            value, error = ratio(dict(zip(PARTS, running[:, look].tolist(), strict=True)))
            if abs(value - 0.5) > 1.96 * error:
                missed["pointwise"] += 1
                break
    assert missed["sequence"] <= 0.05 * 300
    assert missed["pointwise"] >= 0.15 * 300
    assert [moment.n for moment in moments] == list(range(200, 4001, 200))
