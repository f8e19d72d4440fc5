from __future__ import annotations

import math

import numpy as np
import pytest

from graph.price_bands import band_of, price_bands


def test_a_price_finds_the_band_that_was_made_of_it() -> None:
    price = np.array([1.0, 2.0, 3.0, 4.0, math.nan, 1e-7])
    rows, names = price_bands(price, 2)
    assert rows.tolist() == [0, 1, 2, 3, 5]
    assert [band_of(price[row], set(names)) for row in rows] == names.tolist()


@pytest.mark.parametrize(
    ("price", "band"), [(0.5, "1 to 2.5"), (2.4, "1 to 2.5"), (2.5, "2.5 to 4"), (99.0, "2.5 to 4"), (math.nan, None)]
)
def test_a_price_outside_all_bands_takes_the_nearest_and_none_has_none(price: float, band: str | None) -> None:
    assert band_of(price, ["2.5 to 4", "1 to 2.5"]) == band
    assert band_of(price, []) is None
