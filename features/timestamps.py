"""Points in time as shops write them, turned into UTC seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EARLIEST = pd.Timestamp("1990-01-01", tz="UTC").timestamp()
LATEST = pd.Timestamp("2100-01-01", tz="UTC").timestamp()


def utc_seconds(column: pd.Series[Any], *, timezone: str) -> NDArray[np.float64]:
    """UTC seconds of each time, float64 [n]; NaN where it is missing or no time between 1990 and 2100.

    Understood are dates and ISO 8601 text (without an offset it is the shop's local time), and numbers since 1970 in
    seconds, milliseconds, microseconds or nanoseconds: the one unit that puts the column's middle value between 1990
    and 2100 (there is at most one).

    Args:
        column: the times.
        timezone: IANA name of the shop's time zone.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds = _of_datetimes(column, timezone)
    else:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        seconds = numbers / _per_second(numbers)
        text = ~np.isfinite(numbers) & ~column.isna().to_numpy()
        if text.any():
            seconds = seconds.copy()
            seconds[text] = _of_text(column[text], timezone)
    inside = (seconds >= EARLIEST) & (seconds < LATEST)
    return np.where(inside, seconds, np.nan)


def _per_second(numbers: NDArray[np.float64]) -> float:
    finite = numbers[np.isfinite(numbers)]
    middle = float(np.median(finite)) if len(finite) else 0.0
    for unit in (1.0, 1e3, 1e6, 1e9):
        if EARLIEST <= middle / unit < LATEST:
            return unit
    return 1.0


def _of_text(column: pd.Series[Any], timezone: str) -> NDArray[np.float64]:
    aware = column.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)\s*$", regex=True).to_numpy()
    seconds = np.full(len(column), np.nan)
    for offset_given in (True, False):
        rows = aware == offset_given
        if rows.any():
            parsed = pd.to_datetime(column[rows], errors="coerce", format="ISO8601", utc=offset_given)
            seconds[rows] = _of_datetimes(parsed, timezone)
    return seconds


def _of_datetimes(column: pd.Series[Any], timezone: str) -> NDArray[np.float64]:
    if column.dt.tz is None:
        column = column.dt.tz_localize(
            timezone, ambiguous=np.ones(len(column), dtype=bool), nonexistent="shift_forward"
        )
    micros = column.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return np.where(micros.isna(), np.nan, micros.astype("int64").to_numpy() / 1e6)
