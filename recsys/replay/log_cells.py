"""Numbers of a log's rows, each column by its rule; what breaks one is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.shop import cells
from features.shop.cells import Sieve

F64 = NDArray[np.float64]
MOST_SLOTS = 32_768
"""A position beyond it is a mistake."""


def positions_of(column: pd.Series | None, n: int, sieve: Sieve) -> tuple[F64, float]:
    """Slots as the log counts them, float64 [n], 0 where it tells none; and the lowest, infinity without rows."""
    if column is None:
        return np.zeros(n), 0.0
    position, _ = cells.numbers(column)
    sieve.refuse(
        ~((position >= 0) & (position == np.rint(position)) & (position < MOST_SLOTS)),
        "position must be a whole number >= 0",
        column,
    )
    return np.where(sieve.kept, position, 0.0), float(position[sieve.kept].min(initial=np.inf))


def propensities_of(column: pd.Series | None, n: int, sieve: Sieve) -> tuple[F64, bool]:
    """Propensities, float64 [n], NaN where there is none; and whether some row has one."""
    if column is None:
        return np.full(n, np.nan), False
    propensity, _ = cells.numbers(column)
    there = cells.present(column)
    sieve.refuse(there & ~((propensity > 0) & (propensity <= 1)), "propensity must be in (0, 1]", column)
    return propensity, bool(there.any())


def rewards_of(
    frame: pd.DataFrame, found: Mapping[str, str], sieve: Sieve, *, reward: str | None, also: Sequence[str]
) -> tuple[F64, dict[str, F64]]:
    """The reward, float64 [n], and further ones by name.

    Args:
        frame: the log.
        found: our name → its column.
        sieve: takes what is no number.
        reward: "click" or a column; None where events will earn it: then 0 throughout.
        also: columns of further rewards.

    Raises:
        InputError: there is no column of clicks.
    """
    others = {name: _numbers(frame[name], name, sieve) for name in also}
    if reward is None:
        return np.zeros(len(frame)), others
    if reward != "click":
        return _numbers(frame[reward], reward, sieve), others
    if "click" not in found:
        raise InputError(
            f"{sieve.file} must have a column click (or --column click=NAME, --reward NAME, --events FILE); it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    column = frame[found["click"]]
    if pd.api.types.is_numeric_dtype(column.dtype):
        values, _ = cells.numbers(column)
        yes, no = values == 1, values == 0
    else:
        said = pd.Series(cells.texts(column)).str.lower()
        yes, no = said.isin(["1", "1.0", "true"]).to_numpy(), said.isin(["0", "0.0", "false"]).to_numpy()
    sieve.refuse(~(yes | no), "click must be 0 or 1", column)
    return yes.astype(np.float64), others


def _numbers(column: pd.Series, name: str, sieve: Sieve) -> F64:
    values, _ = cells.numbers(column)
    sieve.refuse(np.isnan(values), f"{name} must be a number", column)
    return values
