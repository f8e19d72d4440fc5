"""What begins in one burst does not end in one."""

from __future__ import annotations

import numpy as np

from serving.steady import until_s


def test_users_met_in_one_burst_are_worked_out_anew_spread_over_half_the_time_that_each_holds() -> None:
    began = 1.8e9 + np.sort(np.random.default_rng(0).uniform(0, 0.5, 1_000))  # so many in half a second
    lasts = np.array([until_s(one, 60.0) - one for one in began])
    assert lasts.min() >= 30
    assert lasts.max() <= 60
    ends = np.array([until_s(one, 60.0) for one in began])
    a_second = np.histogram(ends, bins=np.arange(ends.min(), ends.min() + 31))[0]
    assert a_second.max() < 3 * a_second.mean()


def test_how_long_something_lasts_follows_from_when_it_began() -> None:
    assert until_s(1_000.0, 60.0) == 1_060.0
    assert until_s(1_000.0005, 60.0) == 1_000.0005 + 60.0 * (1 - 1_000.0005 * 1e3 % 1 / 2)
    assert abs(until_s(1_000.0005, 60.0) - 1_045.0005) < 1e-3
