"""The ± of repeated measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.deviation import sample_deviation


def test_the_deviation_is_that_of_a_sample_and_not_of_all_there_is() -> None:
    assert float(sample_deviation([1.0, 2.0, 6.0])) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_each_column_has_its_own_deviation() -> None:
    assert sample_deviation([[0.0, 3.0], [2.0, 3.0]]).tolist() == pytest.approx([math.sqrt(2), 0.0])


def test_one_measurement_has_no_deviation() -> None:
    assert np.isnan(sample_deviation([4.0]))
    assert np.isnan(sample_deviation([[4.0, 5.0]])).tolist() == [True, True]
