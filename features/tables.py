"""A shop's tables: `items.parquet`, `items.csv` or `items.jsonl` all give the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine

ENDINGS = (".parquet", ".csv", ".jsonl")


def find_table(shop: Path, name: str) -> Path | None:
    """The file of a table, None where the shop has none.

    Raises:
        InputError: there are several, so that nobody could say which counts.
    """
    found = [shop / f"{name}{ending}" for ending in ENDINGS if (shop / f"{name}{ending}").is_file()]
    if len(found) > 1:
        raise InputError(f"{shop}: table {name!r} must be one file, found {', '.join(path.name for path in found)}")
    return found[0] if found else None


def read_table(path: Path, columns: Mapping[str, str], *, quarantine: Quarantine) -> pd.DataFrame:
    """Read a table and give its columns our names; the index is the row in the file.

    Of CSV every cell is read as text, and an empty cell is missing. Of JSONL a line that is no JSON object is refused.

    Args:
        path: the file.
        columns: our name → the file's name; columns that are not mapped keep theirs.
        quarantine: takes lines that cannot be read.

    Raises:
        InputError: the file cannot be read, or a mapped column is not there.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
        else:
            table = pd.DataFrame.from_dict(dict(_json_lines(path, quarantine)), orient="index")
    except InputError:
        raise
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {error}") from error
    for ours, theirs in columns.items():
        if theirs not in table.columns:
            raise InputError(
                f"{path}: shop.toml maps {ours!r} to column {theirs!r}, which is not there; "
                f"there are {', '.join(map(str, table.columns))}"
            )
    renamed = table.rename(columns={theirs: ours for ours, theirs in columns.items()})
    renamed.columns = renamed.columns.astype(str)
    twice = renamed.columns[renamed.columns.duplicated()]
    if len(twice):
        raise InputError(f"{path}: column names must differ, {twice[0]!r} is there twice")
    if path.suffix != ".jsonl":
        renamed.index = pd.RangeIndex(len(renamed))
    return renamed


def _json_lines(path: Path, quarantine: Quarantine) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for row, line in enumerate(file):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield row, value
            else:
                quarantine.refuse(path.name, row, "line is no JSON object", line.decode(errors="replace").strip())


def as_text(column: pd.Series[Any]) -> NDArray[np.object_]:
    """A column as text, object [n] of str; "" where missing, and whole numbers without a decimal point."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        names = np.append(as_text(pd.Series(column.cat.categories)), "")
        return names[column.cat.codes.to_numpy()]
    missing = column.isna().to_numpy()
    if pd.api.types.is_float_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.all((numbers[~missing] % 1 == 0) & (np.abs(numbers[~missing]) < 2**53)):
            column = column.astype("Int64")
    text = column.astype(object).where(~missing, "").map(str, na_action=None).str.strip().to_numpy(dtype=object)
    result: NDArray[np.object_] = text
    return result


def as_numbers(column: pd.Series[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as float64 [n], NaN where missing or no number; and where something stood that is no finite number."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~column.isna().to_numpy() & ~np.isfinite(numbers)
    return np.where(np.isfinite(numbers), numbers, np.nan), bad
