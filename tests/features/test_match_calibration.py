from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.match.calibration import auroc, expected_calibration_error, fit_calibrator
from features.match.calibrator import Calibrator, sigmoid


@settings(deadline=None, max_examples=50)
@given(
    positive=st.lists(st.integers(-3, 3), min_size=1, max_size=8),
    negative=st.lists(st.integers(-3, 3), min_size=1, max_size=8),
)
def test_auroc_counts_pairs_in_the_right_order(positive: list[int], negative: list[int]) -> None:
    expected = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative) / (len(positive) * len(negative))
    assert auroc(np.array(positive, float), np.array(negative, float)) == pytest.approx(expected)


def test_auroc_without_one_side_is_unknown() -> None:
    assert math.isnan(auroc(np.array([1.0]), np.zeros(0)))


def test_calibration_error_is_the_gap_between_promised_and_happened() -> None:
    # bin [0.2, 0.3): promised 0.2 and 0.2, happened 1 of 2: gap |0.4 - 1|; bin [0.9, 1]: promised 1.0, happened: gap 0
    error = expected_calibration_error(
        np.array([0.2, 0.2, 1.0]), np.array([True, False, True]), np.array([1.0, 1.0, 2.0])
    )
    assert error == pytest.approx(0.6 / 4)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0)))


def test_margins_drawn_from_two_normals_give_their_own_odds() -> None:
    # N(1, 1) against N(-1, 1): log odds are exactly 2 * margin
    rng = np.random.default_rng(0)
    calibrator = fit_calibrator(rng.normal(1, 1, 20_000), rng.normal(-1, 1, 60_000))
    margin = np.array([-1.5, -0.5, 0.0, 0.5, 1.5])
    np.testing.assert_allclose(calibrator(margin), 1 / (1 + np.exp(-2 * margin)), atol=0.02)


def test_odds_that_are_no_straight_line_are_followed() -> None:
    # half of the mismatched are like the matched, the other half far below: even odds times 2 above, none below
    rng = np.random.default_rng(0)
    matched = rng.normal(0, 1, 5000)
    mismatched = np.concatenate([rng.normal(0, 1, 5000), rng.normal(-20, 1, 5000)])
    given = fit_calibrator(matched, mismatched)(np.array([-20.0, -1.0, 0.0, 1.0]))
    assert given[0] < 0.01
    np.testing.assert_allclose(given[1:], 2 / 3, atol=0.06)


def test_where_a_side_never_came_its_odds_are_those_of_half_a_pair() -> None:
    # each side weighs a half: half a pair of 30 matched is 0.5 / 30 / 2, of 40 mismatched 0.5 / 40 / 2
    calibrator = fit_calibrator(np.linspace(1, 2, 30), np.linspace(-2, -1, 40))
    expected = [math.log((1 / 120) / (1 / 2 + 1 / 160)), math.log((1 / 2 + 1 / 120) / (1 / 160))]
    np.testing.assert_allclose(calibrator.log_odds, expected, rtol=1e-9)


@pytest.mark.parametrize("n", [5, 40, 4000])
def test_probabilities_rise_strictly_with_the_margin(n: int) -> None:
    rng = np.random.default_rng(n)
    calibrator = fit_calibrator(rng.normal(1, 1, n), rng.normal(-1, 1, n))
    assert (np.diff(calibrator(np.linspace(-8, 8, 400))) > 0).all()


def test_a_prior_shifts_the_odds_as_bayes_says() -> None:
    calibrator = Calibrator(slope=1.0, offset=0.0)
    # margin log 2: odds 2:1 at equal numbers; at 9 matches to 1 mismatch 18:1
    margin = np.array([math.log(2)])
    assert calibrator(margin)[0] == pytest.approx(2 / 3)
    assert calibrator(margin, prior=0.9)[0] == pytest.approx(18 / 19)


def test_uninformative_or_contrary_margins_give_even_odds() -> None:
    same = np.zeros(50)
    assert fit_calibrator(same, same)(same) == pytest.approx(0.5)
    contrary = fit_calibrator(np.array([-2.0, -1.0]), np.array([1.0, 2.0]))
    assert contrary(np.array([-2.0, 2.0])) == pytest.approx(0.5)


def test_separable_sides_give_a_finite_slope() -> None:
    calibrator = fit_calibrator(np.array([5.0, 6.0, 7.0]), np.array([-7.0, -6.0, -5.0]))
    assert 0 < calibrator.slope < 100
    assert calibrator(np.array([6.0]))[0] > 0.95
    assert calibrator(np.array([-6.0]))[0] < 0.05


def test_a_side_without_margins_is_refused() -> None:
    with pytest.raises(ValueError, match="0 mismatched"):
        fit_calibrator(np.ones(3), np.zeros(0))


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
