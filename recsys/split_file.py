"""A split given as a file: which pairs are for training, for choosing, for reporting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.interactions import Interactions
from recsys.held_out import SIDES, Pairs, Split, assemble, pair_keys

if TYPE_CHECKING:
    from features.quarantine import Quarantine

COLUMNS = ("user_id", "item_id", "split")


def file_split(interactions: Interactions, path: Path, *, quarantine: Quarantine | None = None) -> Split:
    """Read a split from a parquet, CSV or JSONL file of `user_id, item_id, split` rows.

    Only listed pairs are used: events of other pairs (say, bad ratings beside a list of likes) are on no side. Training
    rows keep every event of their pair.

    Args:
        interactions: the shop's events.
        path: the file; `split` is "train", "valid" or "test".
        quarantine: where refused rows go; without it the first refused row is an error.

    Raises:
        InputError: the file cannot be read, a column is missing, no row is usable, or, without a quarantine, a row
            has an unknown id, an unknown split name, a pair without any event, or a pair that was listed before.
            Rows are counted from 0, the header not included.
    """
    table = _read(path)
    refused = np.zeros(len(table), dtype=np.bool_)

    def refuse(bad: NDArray[np.bool_], rule: str, columns: tuple[str, ...]) -> None:
        rows = np.flatnonzero(bad & ~refused)
        for row in rows.tolist():
            values = [table[column].iloc[row] for column in columns]
            value = values[0] if len(values) == 1 else tuple(values)
            if quarantine is None:
                raise InputError(f"{path.name}, row {row}: {rule}, got {value!r}")
            quarantine.refuse(path.name, row, rule, value)
        refused[rows] = True

    users = interactions.users.idxs(table["user_id"].tolist())
    items = interactions.items.idxs(table["item_id"].tolist())
    side = pd.Series(table["split"]).map({name: number for number, name in enumerate(SIDES)})
    refuse(users < 0, "user_id must be one of the shop's users", ("user_id",))
    refuse(items < 0, "item_id must be one of the shop's items", ("item_id",))
    refuse(side.isna().to_numpy(), f"split must be one of {', '.join(SIDES)}", ("split",))

    pairs = Pairs.of(interactions)
    known = pair_keys(interactions)[pairs.first_event]
    keys = users * np.int64(max(len(interactions.items), 1)) + items
    place = np.searchsorted(known, keys)
    absent = np.ones(len(keys), dtype=np.bool_)
    inside = place < len(known)
    absent[inside] = known[place[inside]] != keys[inside]
    refuse(absent, "a listed pair must have an event in the interactions", ("user_id", "item_id"))
    refuse(pd.Series(keys).where(~refused).duplicated().to_numpy(), "a pair must be listed once", COLUMNS)
    if refused.all():
        raise InputError(f"{path.name} has no usable row ({len(table)} rows, all refused)")

    side_of_pair = np.full(len(known), -1, dtype=np.int64)
    side_of_pair[place[~refused]] = side[~refused].astype(np.int64)
    return assemble(path.stem, interactions, pairs, side_of_pair, side_of_pair[pairs.of_event] == 0)


def _read(path: Path) -> pd.DataFrame:
    """The three columns as text; an empty cell is "", which is no id and no split name."""
    if not path.is_file():
        raise InputError(f"split file {path} is not there")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif path.suffix == ".jsonl":
            table = pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        else:
            raise InputError(f"a split file must end in .parquet, .csv or .jsonl, got {path.name!r}")
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(f"split file {path.name} cannot be read: {error}") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"split file {path.name} must have the columns {', '.join(COLUMNS)}; {missing} missing")
    return pd.DataFrame({column: ["" if pd.isna(v) else str(v) for v in table[column].tolist()] for column in COLUMNS})
