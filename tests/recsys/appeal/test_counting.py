"""Counters of clicks with what a slot earns anyway taken off: a planted truth is recovered; nothing is known early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.appeal.counting import CountingConfig, count_logs
from recsys.appeal.examination import Examination
from recsys.appeal.files import TABLE, read_counters, write_counters
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import Counts, Prior, appeal, prior_of, standing_by
from recsys.appeal.then import StandingThen
from recsys.ranking.standing import Standing
from recsys.replay.log import Log

N_ITEMS, N_SLOTS = 40, 8
LOOKS = 1 / np.sqrt(np.arange(1, N_SLOTS + 1))
HOUR = CountingConfig(bucket_s=3600.0)


def planted(*, drawn: float, n: int = 20_000, seed: int = 0) -> tuple[Log, np.ndarray]:
    """A log of two kinds of visitors, whose lists stand by what the shop believes of their kind, or, a share `drawn` of
    them, in any order; and the truth: the mean appeal of each item.

    Without draws the order wavers, so that items stand in several places, and kinds like the same.
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(-1.5, 0.8 if drawn else 0.3, N_ITEMS)
    own = rng.normal(0, 0.8, (2, N_ITEMS)) * (drawn > 0)
    chance = 1 / (1 + np.exp(-(base + own)))
    kind = rng.integers(2, size=n)
    belief = base + own if drawn else -4 * base  # undrawn: the best stand low
    wavering = rng.gumbel(size=(n, N_ITEMS)) * (drawn == 0)
    if not drawn:  # some items at a time
        wavering[rng.random((n, N_ITEMS)).argsort(axis=1) >= N_SLOTS] = -np.inf
    order = np.argsort(-(np.broadcast_to(belief, (2, N_ITEMS))[kind] + wavering), axis=1)[:, :N_SLOTS]
    best = np.argsort(-np.broadcast_to(belief, (2, N_ITEMS))[kind], axis=1)[:, :N_SLOTS]
    if drawn:
        mixed = np.argsort(rng.random((n, N_ITEMS)), axis=1)[:, :N_SLOTS]
        order = np.where((rng.random(n) < drawn)[:, None], mixed, best)
    marginal = drawn / N_ITEMS + (1 - drawn) * (order == best) if drawn else np.ones(order.shape)
    clicked = rng.random(order.shape) < LOOKS * chance[kind[:, None], order]
    size = order.size
    log = Log(
        name="v1/feed",
        items=Vocabulary(tuple(f"item-{row}" for row in range(N_ITEMS))),
        item_idx=order.ravel(),
        position=np.tile(np.arange(N_SLOTS), n),
        reward=clicked.ravel().astype(np.float64),
        propensity=marginal.ravel(),
        request_idx=np.repeat(np.arange(n), N_SLOTS),
        user_idx=np.full(size, -1),
        group=np.zeros(size, dtype=np.int16),
        timestamp=np.repeat(1.6e9 + 10.0 * np.arange(n), N_SLOTS),
    )
    return log, chance.mean(axis=0)


def told(log: Log) -> np.ndarray:
    """What is said of each item after the whole log."""
    return then(count_logs([log], HOUR, window_s=0.0), log)(np.inf).columns[:, 0]


def then(history: CounterHistory, log: Log) -> StandingThen:
    return StandingThen(Standing.of_nothing(N_ITEMS), log.items, history)


def curve_of(history: CounterHistory) -> np.ndarray:
    return np.array(history.examination(history.end_s).curves["feed"])


def test_appeal_is_recovered_where_plain_click_rates_are_misled_by_place() -> None:
    log, truth = planted(drawn=0.0)
    rates = np.bincount(log.item_idx, log.reward, N_ITEMS) / np.bincount(log.item_idx, minlength=N_ITEMS)
    ours, plain = (spearmanr(values, truth).statistic for values in (told(log), rates))
    assert ours > 0.95
    assert plain < 0.5
    curve = curve_of(count_logs([log], HOUR, window_s=0.0))
    np.testing.assert_allclose(curve, LOOKS, rtol=0.12)


def test_draws_free_the_curve_from_what_visitors_liked_anyway() -> None:
    log, _ = planted(drawn=0.3)
    history = count_logs([log], HOUR, window_s=0.0)
    assert history.randomized == pytest.approx(1.0, abs=0.01)  # any item could have stood anywhere
    off = np.abs(curve_of(history) / LOOKS - 1).max()
    silent = count_logs([replace(log, propensity=np.ones(len(log)))], HOUR, window_s=0.0)
    supposed = np.abs(curve_of(silent) / LOOKS - 1).max()
    assert silent.randomized == 0
    assert off < 0.15
    assert supposed > 2 * off


def test_counts_are_sums_of_what_was_known_at_a_moment_and_fade() -> None:
    log, _ = planted(drawn=0.3, n=3000)
    cut = 1.6e9 + 15_000
    history = count_logs([log], HOUR, window_s=600.0)
    examination = history.examination(cut)
    counts = history.counts(cut, examination).of(0)
    shown = np.flatnonzero(np.ceil(log.timestamp / 3600) * 3600 + 600 <= cut)
    looks = np.array(examination.curves["feed"])[log.position[shown]]
    fading = 0.5 ** ((cut - np.ceil(log.timestamp[shown] / 3600) * 3600) / history.half_life_s)
    np.testing.assert_allclose(counts.looks, np.bincount(log.item_idx[shown], looks * fading, N_ITEMS))
    np.testing.assert_allclose(counts.looks_squared, np.bincount(log.item_idx[shown], looks * fading**2, N_ITEMS))
    np.testing.assert_allclose(counts.clicks, np.bincount(log.item_idx[shown], log.reward[shown] * fading, N_ITEMS))


def test_a_burst_of_clicks_to_come_changes_nothing_of_the_past_not_even_how_places_are_looked_at() -> None:
    log, _ = planted(drawn=0.3, n=3000)
    burst = 1.6e9 + 15_000
    reward = log.reward.copy()
    reward[(log.timestamp > burst) & (log.position >= N_SLOTS // 2)] = 1.0  # the lower half is all that is clicked
    quiet, loud = (then(count_logs([of], HOUR, window_s=600.0), log) for of in (log, replace(log, reward=reward)))
    assert not quiet(1.6e9).known  # nobody had counted yet: unknown, and not 0
    for moment in np.arange(1.6e9, burst + 600, 500.0).tolist():
        np.testing.assert_array_equal(quiet(moment).columns, loud(moment).columns)
    assert quiet(burst).known
    assert np.abs(quiet(np.inf).columns - loud(np.inf).columns)[:, :2].max() > 0.1


def test_who_asks_for_moments_in_turn_is_told_each_its_own_and_each_is_worked_out_once(
    make_counters: Callable[..., CounterHistory], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_counters([(item, "", 0, at, 100, 10) for at in (100.0, 200.0) for item in ("a", "b")])
    worked_out: list[float] = []
    monkeypatch.setattr(CounterHistory, "counts", lambda _, moment, examination: worked_out.append(moment))
    monkeypatch.setattr("recsys.appeal.then.standing_by", lambda *_: (np.full((2, 2), len(worked_out)), {}))
    standing = StandingThen(Standing.of_nothing(2), history.items, history)
    told = [standing(moment).columns[0, 0] for moment in (100.0, 250.0, 150.0, 200.0, 50.0)]
    np.testing.assert_array_equal(told, [1, 2, 1, 2, np.nan])
    again = standing.over(Standing(np.array([[0, 0, 7.0], [0, 0, 8.0]], dtype=np.float32)))  # they came otherwise
    np.testing.assert_array_equal(again(150.0).columns, [[1, 1, 7], [1, 1, 8]])
    assert worked_out == [100.0, 200.0]


def test_a_scenario_s_counts_are_shrunk_to_what_the_item_does_elsewhere(
    make_counters: Callable[..., CounterHistory],
) -> None:
    """Worked by hand: elsewhere a and b earn 1 in 10 and c 3 in 10; at home a earns 20 and b 0 of 100 looks."""
    rows = [("a", "", 0, 100.0, 1000, 100), ("b", "", 0, 100.0, 1000, 100), ("c", "", 0, 100.0, 1000, 300)]
    rows += [("a", "home", 0, 100.0, 100, 20), ("b", "home", 0, 100.0, 100, 0)]
    history = make_counters(rows)
    counts = history.counts(100.0, history.examination(100.0))
    everywhere, scenarios = standing_by(counts, history.scenarios, np.array([0, 1, 2, -1]))
    overall = counts.everywhere()
    np.testing.assert_allclose(everywhere[:3], appeal(overall, prior_of(overall)))
    np.testing.assert_array_equal(everywhere[3], [0, 0])
    elsewhere = appeal(counts.of(0), prior_of(counts.of(0)))
    (home,) = scenarios.values()
    # a and b are expected to earn alike at home, 20 clicks for 200 looks that count `looks` each; both are 10 off
    looks = 100 * np.exp(elsewhere[0, 0])
    mean = 20 / (2 * looks)
    spread = 2 * (10**2 - mean * looks) / looks / (2 * looks)
    prior = mean / spread
    rates = (np.array([20, 0]) + mean * prior) / (looks + prior)
    np.testing.assert_allclose(home[:2, 0], elsewhere[:2, 0] + np.log(rates / mean), rtol=1e-5)
    here = looks / (looks + prior)
    np.testing.assert_allclose(home[:2, 1], elsewhere[:2, 1] + (1 - elsewhere[:2, 1]) * here, rtol=1e-5)
    np.testing.assert_allclose(home[2], elsewhere[2])  # never shown there: as elsewhere
    np.testing.assert_array_equal(home[3], [0, 0])


def test_what_attracts_in_a_scenario_is_recovered_better_by_its_own_counters() -> None:
    log, _ = planted(drawn=0.3, n=12_000)
    rng = np.random.default_rng(5)
    own = np.exp(rng.normal(0, 0.6, (2, N_ITEMS)))  # how much more, or less, each item attracts in each
    codes = np.repeat(rng.integers(2, size=len(log) // N_SLOTS), N_SLOTS)
    base = rng.uniform(0.05, 0.25, N_ITEMS)
    clicked = rng.random(len(log)) < LOOKS[log.position] * np.minimum(1, base[log.item_idx] * own[codes, log.item_idx])
    of = replace(log, reward=clicked.astype(np.float64), scenario=(("cart", "home"), codes))
    standing = then(count_logs([of], HOUR, window_s=0.0), log)(np.inf)
    for place, name in enumerate(("cart", "home")):
        truth = base * own[place]
        ours, overall = (
            spearmanr(found[:, 0], truth).statistic for found in (standing.scenarios[name], standing.columns)
        )
        assert ours > 0.9
        assert ours > overall + 0.03


def test_a_scenario_that_says_nothing_new_leaves_everything_as_it_is(
    make_counters: Callable[..., CounterHistory],
) -> None:
    rows = [(item, "home", 0, 100.0, 1000, clicks) for item, clicks in (("a", 50), ("b", 100), ("c", 400))]
    history = make_counters(rows)
    counts = history.counts(100.0, history.examination(100.0))
    everywhere, scenarios = standing_by(counts, history.scenarios, np.arange(3))
    np.testing.assert_allclose(scenarios["home"], everywhere, rtol=1e-6)


def test_slots_whose_clicks_may_still_come_are_not_counted() -> None:
    log, _ = planted(drawn=0.3, n=600)
    whole, early = (count_logs([log], HOUR, window_s=window_s) for window_s in (0.0, 1_995.0))
    known = log.timestamp <= log.timestamp.max() - 1_995.0
    assert (whole.shown.sum(), early.shown.sum()) == (len(log), known.sum())
    assert early.clicks.sum() == log.reward[known].sum() < log.reward.sum()


def test_a_drawn_slot_of_which_only_the_chance_given_those_above_is_known_says_nothing_of_fair_places() -> None:
    log, _ = planted(drawn=0.3, n=600)
    drawn = np.arange(len(log)) % 4 == 0
    given = replace(log, propensity=np.where(drawn, 0.25, 1.0), given_above=True)
    history = count_logs([given], HOUR, window_s=0.0)
    assert (history.shown.sum(), history.fair_shown.sum()) == (len(log), (~drawn).sum())
    assert history.fair_clicks.sum() == log.reward[~drawn].sum()
    known = count_logs([replace(given, marginal=np.full(len(log), 0.5))], HOUR, window_s=0.0)
    assert known.fair_shown.sum() == 2 * len(log)


def test_only_so_many_scenarios_are_counted_by_themselves_and_the_rest_together() -> None:
    log, _ = planted(drawn=0.3, n=600)
    names = ("rare", "home", "cart")
    codes = np.repeat(np.arange(600) % 10, N_SLOTS)  # rare 1 in 10, none 1 in 10, home 4, cart 4
    codes = np.where(codes == 0, 0, np.where(codes == 9, -1, np.where(codes <= 4, 1, 2)))
    of = replace(log, scenario=(names, codes))
    history = count_logs([of], CountingConfig(bucket_s=3600.0, scenarios=2), window_s=0.0)
    assert history.scenarios == ("", "cart", "home")
    shown = history.counts(history.end_s, Examination({"feed": (1.0,)}))
    fading = 0.5 ** (
        (history.end_s - np.minimum(np.ceil(log.timestamp / 3600) * 3600, history.until_s)) / history.half_life_s
    )
    for place, scenario in enumerate((codes <= 0, codes == 2, codes == 1)):
        expected = np.bincount(log.item_idx[scenario], fading[scenario], N_ITEMS)
        np.testing.assert_allclose(shown.looks[place], expected)


def test_an_estimate_is_the_credibility_mean_worked_by_hand() -> None:
    counts = Counts(np.array([10.0, 0.0, 0.0]), np.array([100.0, 50.0, 0.0]), np.array([100.0, 50.0, 0.0]))
    prior = prior_of(counts)
    # mean 10 / 150; spread ((10 - 6.67)^2 / 100 + 3.33^2 / 50 - 2 x .0667) / 150 = 1.333e-3; looks .0667 / 1.333e-3
    assert prior.mean == pytest.approx(1 / 15)
    assert prior.looks == pytest.approx(50.0, rel=1e-6)
    ratio, known = appeal(counts, prior).T
    np.testing.assert_allclose(np.exp(ratio), [(10 + 50 / 15) / 150 * 15, (50 / 15) / 100 * 15, 1], rtol=1e-5)
    np.testing.assert_allclose(known, [2 / 3, 1 / 2, 0], rtol=1e-5)
    alike = appeal(counts, Prior(0.1, float("inf")))
    assert not alike.any()  # items that do not differ are all like the average
    nobody = Counts(*(np.zeros(3) for _ in range(3)))
    assert np.isnan(appeal(nobody, prior_of(nobody))).all()


def test_a_small_log_says_little_of_how_places_are_looked_at(make_counters: Callable[..., CounterHistory]) -> None:
    """Worked by hand: one item; 30 clicks of 100 in the first place and none of 100 in the third."""
    history = make_counters([("a", "", 0, 1.0, 100, 30), ("a", "", 2, 1.0, 100, 0)])
    first, second, third = history.examination(1.0).curves["feed"]
    # appeal a: clicks 30 = a (100 looks0 + 100 looks2); looks0 = (30 + 10) / (100 a + 10), looks2 = 10 / (100 a + 20)
    a, looks = 0.3, np.array([1.0, 0.5])
    for _ in range(200):
        a = 30 / (100 * looks.sum())
        looks = np.array([40 / (100 * a + 10), 10 / (100 * a + 20)])
        looks /= looks.max()
    assert (first, third) == pytest.approx((1.0, looks[1]), rel=1e-4)
    assert 0.1 < third < 0.4
    assert second == pytest.approx((first + third) / 2)
    many = make_counters([("a", "", 0, 1.0, 100_000, 30_000), ("a", "", 2, 1.0, 100_000, 3_000)])
    assert many.examination(1.0).of("feed", 2) == pytest.approx(0.1, rel=0.01)


def test_a_slot_beyond_the_known_counts_as_the_last_and_a_strange_surface_by_its_discount() -> None:
    known = Examination({"feed": (1.0, 0.5)})
    assert [known.of("feed", place) for place in (0, 1, 7)] == [1.0, 0.5, 0.5]
    assert known.of("similar", 2) == pytest.approx(0.5)


def test_counters_come_back_from_disk_and_a_changed_table_is_refused(tmp_path: Path) -> None:
    log, _ = planted(drawn=0.3, n=500)
    scenario = (("home", "cart"), np.arange(len(log)) % 3 - 1)
    history = count_logs([replace(log, scenario=scenario)], HOUR, window_s=0.0)
    write_counters(tmp_path, history)
    again = read_counters(tmp_path)
    assert (again.scenarios, again.surfaces, again.items) == (history.scenarios, history.surfaces, history.items)
    for moment in (1.6e9 + 3000, 1.7e9):
        assert again.examination(moment) == history.examination(moment)
        ours, theirs = (of.counts(moment, of.examination(moment)) for of in (again, history))
        np.testing.assert_array_equal(ours.clicks, theirs.clicks)
        np.testing.assert_array_equal(ours.looks_squared, theirs.looks_squared)
    content = (tmp_path / TABLE).read_bytes()
    (tmp_path / TABLE).write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match="its SHA-256 differs"):
        read_counters(tmp_path)
    with pytest.raises(InputError, match=r"it has no counters\.parquet"):
        read_counters(tmp_path / "nowhere")


def test_a_log_without_times_or_clicks_is_refused_by_name() -> None:
    log, _ = planted(drawn=0.3, n=50)
    with pytest.raises(InputError, match="log v1/feed must have timestamps"):
        count_logs([replace(log, timestamp=np.full(len(log), np.nan))], HOUR, window_s=0.0)
    with pytest.raises(InputError, match="no slot of v1/feed was clicked"):
        count_logs([replace(log, reward=np.zeros(len(log)))], HOUR, window_s=0.0)
