from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from features.errors import InputError
from recsys.experiments import Assignment, Experiments, Overrides, unit_hash
from recsys.guard_rails import GuardRail, look

USERS = [f"user-{number}" for number in range(20_000)]
NONE: frozenset[str] = frozenset()


def experiments(*some: dict[str, Any], **more: Any) -> Experiments:
    return Experiments.read({"experiments": some, **more}, "experiments")


def two_arms(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "arms": [{"name": "control"}, {"name": "other"}], **more}


def arms_of(some: Experiments, *, now_s: float = 0.0, scenario: str = "feed", stopped: frozenset[str] = NONE) -> list:
    scenarios = frozenset({scenario})
    return [some.assign(user, scenarios=scenarios, now_s=now_s, stopped=stopped) for user in USERS]


def test_the_hash_of_users_is_uniform_and_independent_between_salts() -> None:
    one, other = (np.array([unit_hash(salt, user) for user in USERS]) for salt in ("a", "b"))
    assert one.min() >= 0
    assert one.max() < 1
    assert stats.chisquare(np.histogram(one, 50, (0, 1))[0]).pvalue > 1e-4
    crossed = np.histogram2d(one, other, 10, ((0, 1), (0, 1)))[0]
    assert stats.chi2_contingency(crossed).pvalue > 1e-4
    assert unit_hash("a", "user-1") == unit_hash("a", "user-1")
    assert unit_hash("a", "b c") != unit_hash("a b", "c")


def test_arms_get_their_share_and_a_user_stays_in_theirs() -> None:
    weighted = {"name": "a", "arms": [{"name": "x", "weight": 1}, {"name": "y", "weight": 3}], "traffic": 0.4}
    assigned = [one.arms.get("a") for one in arms_of(experiments(weighted))]
    counts = [assigned.count(arm) for arm in ("x", "y", None)]
    assert stats.chisquare(counts, np.array([0.1, 0.3, 0.6]) * len(USERS)).pvalue > 1e-4
    assert assigned == [one.arms.get("a") for one in arms_of(experiments(weighted))]


def test_experiments_cross_each_other_evenly() -> None:
    both = arms_of(experiments(two_arms("a"), two_arms("b")))
    table = np.zeros((2, 2))
    for one in both:
        table[one.arms["a"] == "other", one.arms["b"] == "other"] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_a_share_of_the_traffic_keeps_its_arms_when_it_grows() -> None:
    small, large = (arms_of(experiments(two_arms("a", traffic=traffic))) for traffic in (0.2, 1.0))
    assert sum("a" in one.arms for one in small) == pytest.approx(0.2 * len(USERS), rel=0.1)
    assert all("a" in one.arms for one in large)


def test_the_holdout_takes_part_in_nothing_whatever_the_experiments() -> None:
    one, other = (arms_of(experiments(two_arms(name), holdout=0.1)) for name in ("a", "b"))
    held = [assignment.arms == {"holdout": "holdout"} for assignment in one]
    assert sum(held) == pytest.approx(0.1 * len(USERS), rel=0.1)
    assert held == [assignment.arms == {"holdout": "holdout"} for assignment in other]
    table = np.zeros((2, 2))
    for assignment, alone in zip(arms_of(experiments(two_arms("a"))), held, strict=True):
        table[int(alone), assignment.arms["a"] == "other"] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-4  # the holdout is no matter of the arm


def test_another_salt_holds_out_others() -> None:
    one, other = (arms_of(experiments(two_arms("a"), holdout=0.1, holdout_salt=salt)) for salt in ("", "spring"))
    both = sum("holdout" in a.arms and "holdout" in b.arms for a, b in zip(one, other, strict=True))
    assert both == pytest.approx(0.01 * len(USERS), rel=0.3)


def test_who_has_no_id_or_asks_elsewhere_or_too_late_takes_no_part() -> None:
    some = experiments(two_arms("a", scenarios=["home"], start="1970-01-01T00:00:10Z", end="1970-01-01T00:00:20Z"))
    home = frozenset({"feed", "home"})

    def parts(user: str | None = "u", scenarios: frozenset[str] = home, now_s: float = 15.0, **more: Any) -> bool:
        return "a" in some.assign(user, scenarios=scenarios, now_s=now_s, stopped=more.get("stopped", NONE)).arms

    assert parts()
    assert not parts(user=None)
    assert not parts(scenarios=frozenset({"feed"}))
    assert not parts(now_s=9)
    assert not parts(now_s=20)
    assert not parts(stopped=frozenset({"a"}))


def test_what_arms_change_is_put_together() -> None:
    arms = [{"name": "control"}, {"name": "warm", "overrides": {"exploration": {"temperature": 0.3}}}]
    other = [{"name": "only", "overrides": {"rules": 7}}, {"name": "same", "overrides": {"rules": 7}}]
    some = experiments({"name": "a", "arms": arms}, {"name": "b", "arms": other})
    found = arms_of(some)
    assert {one.overrides.rules for one in found} == {7}
    for one in found:
        explores = one.overrides.exploration
        assert (explores is not None and explores.temperature == 0.3) == (one.arms["a"] == "warm")
    assert Experiments().assign("u", scenarios=NONE, now_s=0.0, stopped=NONE) == Assignment({}, Overrides())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"experiments": [{"name": "a", "arms": [{"name": "x"}]}]}, "at least 2 items"),
        ({"experiments": [{"name": "a", "arms": [{"name": "x"}, {"name": "x"}]}]}, "'x' comes twice"),
        ({"experiments": [two_arms("a"), two_arms("a")]}, "'a' comes twice"),
        ({"experiments": [two_arms("holdout")]}, "cannot be called 'holdout'"),
        ({"experiments": [two_arms("a", traffic=0)]}, "experiments[1] (a).traffic"),
        (
            {
                "experiments": [
                    {"name": n, "arms": [{"name": "x"}, {"name": "y", "overrides": {"rules": 2}}]} for n in "ab"
                ]
            },
            "'a' and 'b' both change rules",
        ),
    ],
)
def test_bad_experiments_are_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Experiments.read(document, "experiments")
    assert said in str(caught.value)


def test_experiments_that_never_meet_may_change_the_same() -> None:
    arms = [{"name": "x"}, {"name": "y", "overrides": {"rules": 2}}]
    assert len(experiments(*({"name": n, "arms": arms, "scenarios": [n]} for n in "ab")).experiments) == 2


def test_a_guard_rail_breaks_only_where_the_whole_interval_is_beyond_what_is_allowed() -> None:
    rail = GuardRail(metric="click_rate", allowed=0.1, min_answers=1_000, confidence=0.99)
    first = {"answers": 10_000, "clicks": 1_000}
    # ratio .5, log interval +- 2.326 sqrt(1/500.5 + 1/1000.5) = +- .1273: [.4404, .5682]
    broken = look(rail, "b", {"answers": 10_000, "clicks": 500}, first)
    assert broken.broken
    assert (broken.ratio, broken.low, broken.high) == pytest.approx((0.50025, 0.44041, 0.56822), abs=2e-4)
    assert not look(rail, "b", {"answers": 10_000, "clicks": 880}, first).broken  # may still be within a tenth
    few = look(rail, "b", {"answers": 999, "clicks": 0}, first)
    assert not few.broken
    assert np.isnan(few.ratio)
    short = GuardRail(metric="short_rate", allowed=0.1, min_answers=100)
    assert look(short, "b", {"answers": 10_000, "short": 900}, {"answers": 10_000, "short": 100}).broken
    assert not look(short, "b", {"answers": 10_000, "short": 50}, {"answers": 10_000, "short": 100}).broken
    assert not look(short, "b", {"answers": 10_000, "short": 115}, {"answers": 10_000, "short": 100}).broken  # may be
    assert look(short, "b", {"answers": 10_000, "short": 300}, {"answers": 10_000}).broken  # none at all in the first


def test_equal_arms_rarely_break_a_guard_rail() -> None:
    rng = np.random.default_rng(4)
    rail = GuardRail(metric="click_rate", allowed=0.0, min_answers=100, confidence=0.99)
    clicks = rng.poisson(400, size=(4_000, 2))
    broken = [
        look(rail, "b", {"answers": 8_000, "clicks": a}, {"answers": 8_000, "clicks": b}).broken for a, b in clicks
    ]
    assert np.mean(broken) == pytest.approx(0.01, abs=0.006)
