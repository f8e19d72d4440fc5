"""Columns beside the known ones as attributes: names, lists, paths, and numbers few enough or binned."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Attributes
from features.paths import PATH_SEPARATOR
from features.shop import cells
from features.shop.config import AttributesConfig

MOST_INTEGERS = 200
"""A column of whole numbers with more different values is binned."""
MOST_FLOATS = 20
"""A column of fractions with more different values is binned."""
BINS = 10
LONGEST_VALUE = 200
"""Longer texts are prose, not attributes; a column with a longer median is left out."""
IDENTIFYING_SHARE, IDENTIFYING_ROWS = 0.95, 100
"""Texts of which so large a share differ, over so many rows, name the item instead of telling something of it."""
_LISTS = (list, tuple, np.ndarray)
_NESTED = (*_LISTS, dict)


@dataclass
class AttributeNotes:
    """What was done to columns that could not be taken as they are; column -> what, in words.

    Args:
        binned: numbers that became ranges.
        left_out: columns that are no attributes.
    """

    binned: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def read_attributes(frame: pd.DataFrame, config: AttributesConfig) -> tuple[Attributes, AttributeNotes]:
    """Read every column of a table as an attribute.

    Args:
        frame: one row an item or a user, in vocabulary order; its columns are the attributes.
        config: which columns are paths, hold several values, or are left out.

    Returns:
        the facts, ordered by row and then by column; and what was done to columns that could not be taken as they are.
    """
    notes = AttributeNotes()
    rows: list[NDArray[np.int64]] = []
    names: list[NDArray[np.object_]] = []
    values: list[NDArray[np.object_]] = []
    for column in map(str, frame.columns):
        if column in config.leave_out:
            notes.left_out[column] = "named in shop.toml"
            continue
        if not column.strip():
            notes.left_out[column] = "has no name"
            continue
        found = _facts(column, cells.plain(frame[column].reset_index(drop=True)), config, notes)
        found = found[found.notna()].str.strip()
        found = found[found != ""]
        pairs = pd.DataFrame({"row": found.index.to_numpy(dtype=np.int64), "value": found.to_numpy(dtype=object)})
        pairs = pairs.drop_duplicates()
        rows.append(pairs["row"].to_numpy(dtype=np.int64))
        values.append(pairs["value"].to_numpy(dtype=object))
        names.append(np.full(len(pairs), column, dtype=object))
    if not rows:
        return Attributes.of([]), notes
    row_idx = np.concatenate(rows)
    order = np.argsort(row_idx, kind="stable")
    return Attributes(row_idx[order], np.concatenate(names)[order], np.concatenate(values)[order]), notes


def _facts(name: str, column: pd.Series, config: AttributesConfig, notes: AttributeNotes) -> pd.Series:
    """Values of one column as text, indexed by row; a row may come more than once."""
    if isinstance(column.dtype, pd.StringDtype):
        column = _as_lists(column, config.separators.get(name, PATH_SEPARATOR if name in config.paths else None))
    listed = [] if _is_flat(column) else [cell for cell in column.tolist() if isinstance(cell, _NESTED)]
    if any(isinstance(cell, dict) or any(isinstance(inner, dict) for inner in cell) for cell in listed):
        notes.left_out[name] = "holds objects"
        found = _none()
    elif listed:
        found = _prefixes(column) if name in config.paths else _spelled(column.explode().explode())
    elif isinstance(column.dtype, pd.StringDtype):
        found = _text_facts(name, column, notes)
    elif isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(column.dtype):
        notes.binned[name] = "dates, by year"
        found = _spelled(column.dropna().dt.year)
    elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        found = _number_facts(name, column, notes)
    else:
        found = _spelled(column)
    return found


def _is_flat(column: pd.Series) -> bool:
    return not pd.api.types.is_object_dtype(column.dtype)


def _none() -> pd.Series:
    return pd.Series([], dtype="str", index=pd.Index([], dtype="int64"))


def _as_lists(column: pd.Series, separator: str | None) -> pd.Series:
    """Text cells split at the separator, or parsed where all of them spell a list."""
    filled = column.dropna()
    if not len(filled):
        return column
    if filled.str.startswith("[").all() and filled.str.rstrip().str.endswith("]").all():
        lists = [_parsed(cell) for cell in filled.tolist()]
        if all(isinstance(cell, list) for cell in lists):
            return pd.Series(lists, index=filled.index, dtype="object").reindex(column.index)
    return column if separator is None else filled.str.split(separator, regex=False).reindex(column.index)


def _parsed(cell: str) -> object:
    """A list as JSON or as Python writes it; None for anything else."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(cell) if len(cell) < 10_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _prefixes(column: pd.Series) -> pd.Series:
    """("Apparel", "Shoes") as "Apparel" and "Apparel > Shoes"; a list of lists is several paths."""
    rows: list[int] = []
    values: list[str] = []
    for row, cell in enumerate(column.tolist()):
        paths: list[Any]
        if isinstance(cell, str):
            paths = [cell.split(PATH_SEPARATOR)]
        elif isinstance(cell, _LISTS):
            paths = list(cell) if len(cell) and isinstance(cell[0], _LISTS) else [cell]
        else:
            continue
        for path in paths:
            steps = [str(step).strip() for step in path if step is not None and str(step).strip()]
            values += [PATH_SEPARATOR.join(steps[:length]) for length in range(1, len(steps) + 1)]
            rows += [row] * len(steps)
    return pd.Series(values, index=pd.Index(rows, dtype="int64"), dtype="str")


def _text_facts(name: str, column: pd.Series, notes: AttributeNotes) -> pd.Series:
    filled = column.dropna().str.strip()
    filled = filled[filled != ""]
    if len(filled) and not filled.str.contains(r"^[+-]?0\d").any():  # 007 is a name
        as_numbers = pd.to_numeric(filled, errors="coerce")
        if np.isfinite(as_numbers.to_numpy(dtype=np.float64, na_value=np.nan)).all():
            return _number_facts(name, as_numbers, notes)
    if len(filled) and filled.str.len().median() > LONGEST_VALUE:
        notes.left_out[name] = f"prose: half of the texts are longer than {LONGEST_VALUE} characters"
        return _none()
    if len(filled) >= IDENTIFYING_ROWS and filled.nunique() > IDENTIFYING_SHARE * len(filled):
        notes.left_out[name] = f"identifies: {filled.nunique():,} different texts in {len(filled):,} rows"
        return _none()
    return filled


def _number_facts(name: str, column: pd.Series, notes: AttributeNotes) -> pd.Series:
    filled = column.dropna()
    values = filled.to_numpy(dtype=np.float64)
    filled, values = filled[np.isfinite(values)], values[np.isfinite(values)]
    different = np.unique(values)
    whole = bool((values == np.rint(values)).all())
    if len(different) <= (MOST_INTEGERS if whole else MOST_FLOATS):
        spelled = {value: str(int(value)) if whole else f"{value:g}" for value in different.tolist()}
        return pd.Series([spelled[value] for value in values.tolist()], index=filled.index, dtype="str")
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    labels = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges.tolist())]
    notes.binned[name] = f"{len(different):,} different numbers in {len(labels)} ranges of about as many rows each"
    return pd.Series(np.array(labels, dtype=object)[bins], index=filled.index, dtype="str")


def _spelled(column: pd.Series) -> pd.Series:
    """Mixed cells as text: whole numbers without a fraction, truth values as "true" and "false"."""
    filled = column.dropna()
    return pd.Series([_spell(cell) for cell in filled.tolist()], index=filled.index, dtype="str")


def _spell(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, bool | np.bool_):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
