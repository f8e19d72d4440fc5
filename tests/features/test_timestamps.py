from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from features.shop.timestamps import utc_seconds

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("per_s", [1, 10**3, 10**6, 10**9])
def test_numbers_are_read_in_the_unit_that_fits(per_s: int) -> None:
    assert utc_seconds(pd.Series([int(NOON) * per_s]), timezone="UTC").tolist() == [NOON]
    assert utc_seconds(pd.Series([str(int(NOON) * per_s)]), timezone="Europe/Berlin").tolist() == [NOON]


def test_a_number_in_another_unit_than_the_rest_is_no_time() -> None:
    found = utc_seconds(pd.Series([NOON, NOON, NOON * 1000]), timezone="UTC")
    np.testing.assert_array_equal(found, [NOON, NOON, np.nan])


@pytest.mark.parametrize("value", [0, -5, 12345, float("nan"), float("inf"), "soon", "", None, "2024-13-01", True])
def test_what_is_no_time_from_1990_to_2099_is_nan(value: object) -> None:
    column = pd.Series([value, str(int(NOON))], dtype="object")
    np.testing.assert_array_equal(utc_seconds(column, timezone="UTC"), [np.nan, NOON])


def test_years_outside_are_refused_whatever_their_form() -> None:
    texts = pd.Series(["1989-12-31T23:59:59Z", "1990-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "2100-01-01T00:00:00Z"])
    assert np.isnan(utc_seconds(texts, timezone="UTC")).tolist() == [True, False, False, True]
    assert np.isnan(utc_seconds(pd.to_datetime(texts), timezone="UTC")).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01T12:00:00Z",
        "2024-07-01 12:00:00+00:00",
        "2024-07-01T14:00:00+02:00",
        "2024-07-01T14:00:00.000+0200",
        "2024-07-01T07:00-05:00",
        "2024-07-01T14:00:00",
        "2024-07-01 14:00",
    ],
)
def test_iso_texts_are_utc_where_they_say_a_zone_and_local_where_not(text: str) -> None:
    column = pd.Series([text, "2024-07-01T14:00:00"])
    assert utc_seconds(column, timezone="Europe/Berlin").tolist() == [NOON, NOON]  # summer: UTC+2


def test_a_date_is_its_local_midnight() -> None:
    midnight = datetime(2024, 6, 30, 22, tzinfo=UTC).timestamp()
    assert utc_seconds(pd.Series(["2024-07-01"]), timezone="Europe/Berlin").tolist() == [midnight]
    dates = pd.Series([date(2024, 7, 1)], dtype="object")
    assert utc_seconds(dates, timezone="Europe/Berlin").tolist() == [midnight]


def test_datetimes_with_and_without_a_zone() -> None:
    naive = pd.Series(pd.to_datetime(["2024-07-01T14:00:00", None]))
    np.testing.assert_array_equal(utc_seconds(naive, timezone="Europe/Berlin"), [NOON, np.nan])
    aware = naive.dt.tz_localize("America/New_York")
    expected = [datetime(2024, 7, 1, 18, tzinfo=UTC).timestamp(), np.nan]
    np.testing.assert_array_equal(utc_seconds(aware, timezone="Europe/Berlin"), expected)


def test_local_times_that_come_twice_or_never_are_still_times() -> None:
    texts = pd.Series(["2024-10-27T02:30:00", "2024-03-31T02:30:00"])
    first, skipped = utc_seconds(texts, timezone="Europe/Berlin").tolist()
    assert first == datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp()
    assert skipped == datetime(2024, 3, 31, 1, 0, tzinfo=UTC).timestamp()
