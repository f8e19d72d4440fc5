"""Columns of outside cells as ids, numbers and texts, and a sieve that refuses each bad row once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.event_rules import id_read
from features.quarantine import Quarantine


class Sieve:
    """Lets the good rows of a table through and puts the others into quarantine, each for the first rule it breaks.

    Args:
        file: the table's file name.
        frame: the table; its index holds the rows' positions in the file.
        quarantine: takes the refused rows.
    """

    def __init__(self, file: str, frame: pd.DataFrame, quarantine: Quarantine) -> None:
        self.file = file
        self._rows: NDArray[np.int64] = frame.index.to_numpy(dtype=np.int64)
        self._quarantine = quarantine
        self.kept: NDArray[np.bool_] = np.ones(len(frame), dtype=np.bool_)

    def refuse(self, bad: NDArray[np.bool_], rule: str, column: pd.Series) -> None:
        """Refuse the rows of a mask that were not refused before.

        Args:
            bad: bool [n_rows].
            rule: the rule they break.
            column: their values in it are reported.
        """
        self.remark(bad, rule, column)
        self.kept = self.kept & ~bad

    def remark(self, bad: NDArray[np.bool_], rule: str, column: pd.Series) -> None:
        """Refuse a value and keep its row: it goes to quarantine, and the row stays."""
        bad = bad & self.kept
        if bad.any():
            self._quarantine.refuse_all(self.file, self._rows[bad].tolist(), rule, _told(column[bad]))


def _told(column: pd.Series) -> list[object]:
    """The cells as they are told to a person: None where absent, whatever the column's type says instead."""
    cells: list[object] = column.tolist()
    if pd.api.types.is_object_dtype(column.dtype):
        return cells
    return [None if absent else cell for cell, absent in zip(cells, column.isna().tolist(), strict=True)]


def coded_ids(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Outside ids of any type as text: row -> place in the list of different ids, -1 where missing.

    Whole numbers are written without a fraction (12.0 is "12"); blanks around an id do not belong to it; null, NaN,
    blank cells, lists and objects are missing.

    Returns:
        int64 [n_rows], and the different ids in order of first appearance.
    """
    if pd.api.types.is_object_dtype(column.dtype):
        column = column.map(lambda cell: None if isinstance(cell, list | dict | np.ndarray) else cell)
    codes, values = pd.factorize(column)
    texts = [_id_text(value) for value in values.tolist()]
    place = {text: number for number, text in enumerate(dict.fromkeys(text for text in texts if text))}
    of_value = np.array([place.get(text, -1) for text in texts] + [-1], dtype=np.int64)  # code -1 finds the last
    return of_value[codes], list(place)


def _id_text(value: object) -> str:
    if isinstance(value, bytes):
        return id_read(value.decode("utf-8", "replace"))
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN differs from itself
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return id_read(str(value))


def numbers(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as numbers.

    Returns:
        float64 [n_rows], NaN where there is no number; and bool [n_rows], True where a cell is there but says NaN or
        infinity or no number at all.
    """
    column = plain(column)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isinf(values)
    else:
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = present(column) & ~np.isfinite(values)
    return np.where(bad, np.nan, values), bad


def plain(column: pd.Series) -> pd.Series:
    """The column itself, or its values where it is a dictionary (categorical) column."""
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def present(column: pd.Series) -> NDArray[np.bool_]:
    """Whether a cell is there, bool [n_rows]; the float NaN among objects is there, and blank text is not."""
    column = plain(column)
    there: NDArray[np.bool_] = np.array(column.notna(), dtype=np.bool_)
    if pd.api.types.is_object_dtype(column.dtype):
        there |= np.array([isinstance(cell, float) for cell in column.tolist()], dtype=np.bool_)
    elif isinstance(column.dtype, pd.StringDtype):
        there &= np.array((column.str.strip() != "").fillna(value=False), dtype=np.bool_)
    return there


def texts(column: pd.Series) -> NDArray[np.object_]:
    """A column as stripped text, object [n_rows]; "" where absent, the parts of a list joined by blanks."""
    column = plain(column)
    if isinstance(column.dtype, pd.StringDtype):
        return column.fillna("").str.strip().to_numpy(dtype=object)
    found = [_text(cell) for cell in column.tolist()]
    return np.array([*found, None], dtype=object)[:-1]


def _text(cell: Any) -> str:
    if isinstance(cell, list | tuple | np.ndarray):
        return " ".join(text for text in map(_text, cell) if text)
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):  # noqa: PLR0124
        return ""
    return str(cell).strip()
