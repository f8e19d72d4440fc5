"""Every further column of a table becomes attributes: one fact a value, with lists as several values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Attributes
from features.tables import as_text

PATH_SEPARATOR = " > "

MAX_NUMBERS = 200
"""A column of numbers with more different values than this says "how much", not "which": it becomes bands."""

BANDS = 10

LONGEST_VALUE = 200
"""A longer value is a text, not an attribute; the column is left out and named."""


def read_attributes(
    table: pd.DataFrame, columns: Iterable[str], *, paths: Iterable[str] = ()
) -> tuple[Attributes, dict[str, str]]:
    """Facts of the rows of a table.

    A list (or array) cell gives a fact a value. In a column of `paths` the list goes from general to special and gives
    its prefixes, joined by " > ". Many different numbers become ten equally filled bands.

    Args:
        table: one row an item or a user; row i of the table is row_idx i.
        columns: which columns to read.
        paths: those whose lists are paths.

    Returns:
        The facts, and the columns that are none: column → why.
    """
    rows: list[NDArray[np.int64]] = []
    names: list[NDArray[np.object_]] = []
    values: list[NDArray[np.object_]] = []
    left_out: dict[str, str] = {}
    for name in columns:
        row_idx, value = _facts(table[name], is_path=name in set(paths))
        longest = max((len(text) for text in set(value.tolist())), default=0)
        if not len(row_idx):
            left_out[name] = "is empty"
        elif longest > LONGEST_VALUE:
            left_out[name] = f"holds texts of up to {longest} characters"
        else:
            rows.append(row_idx)
            names.append(np.full(len(row_idx), name, dtype=object))
            values.append(value)
    if not rows:
        return Attributes.of([]), left_out
    return Attributes(np.concatenate(rows), np.concatenate(names), np.concatenate(values)), left_out


def _facts(column: pd.Series[Any], *, is_path: bool) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Rows int64 [n] and values object [n] of one column; empty values are no facts."""
    if column.dtype == object and column.map(_is_list).any():
        cells = [_values(cell, is_path=is_path) for cell in column.tolist()]
        row_idx = np.repeat(np.arange(len(cells), dtype=np.int64), [len(cell) for cell in cells])
        value = np.array([text for cell in cells for text in cell], dtype=object)
        return row_idx, value
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    text = _bands(column) if numeric and column.nunique() > MAX_NUMBERS else as_text(column)
    row_idx = np.flatnonzero(text != "").astype(np.int64)
    return row_idx, text[row_idx]


def _is_list(cell: object) -> bool:
    return isinstance(cell, list | tuple | np.ndarray)


def _values(cell: object, *, is_path: bool) -> list[str]:
    parts = list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]
    texts = [str(part).strip() for part in parts if part is not None and part == part]  # noqa: PLR0124 (NaN)
    texts = [text for text in texts if text]
    if is_path:
        return [PATH_SEPARATOR.join(texts[: depth + 1]) for depth in range(len(texts))]
    return list(dict.fromkeys(texts))


def _bands(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Each number's band, such as "12-20", object [n]; "" where there is none."""
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(numbers)
    cuts = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BANDS + 1)))
    band = np.clip(np.searchsorted(cuts, numbers, side="right") - 1, 0, len(cuts) - 2)
    labels = np.array([f"{low:g}-{high:g}" for low, high in pairwise(cuts)], dtype=object)
    return np.where(known, labels[band], "")
