"""Times as shops write them (numbers of any unit, ISO texts, dates with or without a zone) to UTC seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.event_rules import EARLIEST_S, LATEST_S
from features.shop.cells import plain

UNITS_PER_S = (1.0, 1e3, 1e6, 1e9)
"""Seconds, milliseconds, microseconds, nanoseconds; between 1990 and 2100 no number is a time in two of them."""

_HAS_ZONE = r"(?i)(?:[zZ]|UTC|GMT|:\d{2}(?:\.\d+)?\s*[+-]\d{2}(?::?\d{2})?)$"


def utc_seconds(column: pd.Series, *, timezone: str, per_s: float | None = None) -> NDArray[np.float64]:
    """Read a column of times.

    Numbers, also as text, are taken in the one unit that fits most of them; a time without a zone is local time of
    `timezone` (where the clock is put back the first of the two, where it is put forward the next that exists).

    Args:
        column: numbers, texts, datetimes or dates.
        timezone: name of the zone of times that tell none.
        per_s: the unit of numbers, see `unit_of`; None for the one that fits most of them.

    Returns:
        float64 [n] UTC seconds; NaN where a cell is absent, no time, or outside [1990, 2100).
    """
    column = plain(column)
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(column.dtype):
        seconds = _of_datetimes(column, timezone)
    elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        seconds = _of_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan), per_s)
    else:
        seconds = _of_texts(column, timezone, per_s)
    sane = (seconds >= EARLIEST_S) & (seconds < LATEST_S)
    return np.where(sane, seconds, np.nan)


def unit_of(column: pd.Series) -> float | None:
    """The unit per second that fits most numbers of a column; None where it holds no times that are numbers."""
    column = plain(column)
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return None
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    fits = _fits(numbers)
    return UNITS_PER_S[int(np.argmax(fits))] if any(fits) else None


def _fits(numbers: NDArray[np.float64]) -> list[int]:
    in_unit = (numbers / per_s for per_s in UNITS_PER_S)
    return [int(((seconds >= EARLIEST_S) & (seconds < LATEST_S)).sum()) for seconds in in_unit]


def _of_numbers(numbers: NDArray[np.float64], per_s: float | None) -> NDArray[np.float64]:
    return numbers / (UNITS_PER_S[int(np.argmax(_fits(numbers)))] if per_s is None else per_s)


def _of_datetimes(column: pd.Series, timezone: str) -> NDArray[np.float64]:
    if column.dt.tz is None:
        column = column.dt.tz_localize(
            timezone, ambiguous=np.ones(len(column), dtype=bool), nonexistent="shift_forward"
        )
    utc = column.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("us").to_numpy()
    return np.where(np.isnat(utc), np.nan, utc.astype(np.int64) / 1e6)


def _of_texts(column: pd.Series, timezone: str, per_s: float | None) -> NDArray[np.float64]:
    texts = column.where(column.notna()).astype("str").str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    seconds = _of_numbers(numbers, per_s)
    wordy = np.isnan(numbers) & column.notna().to_numpy()
    if not wordy.any():
        return seconds
    texts = texts[wordy]
    zoned = texts.str.contains(_HAS_ZONE, regex=True).to_numpy(dtype=bool)
    as_utc = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    read = np.where(zoned, _of_datetimes(as_utc, timezone), _of_datetimes(as_utc.dt.tz_localize(None), timezone))
    seconds[wordy] = read
    return seconds
