"""A split given as a file: which pairs are for training, for choosing, for reporting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.shop.cells import coded_ids
from features.shop.tables import read_table
from features.vocabulary import Vocabulary
from recsys.held_out import SIDES, Pairs, Split, among, assemble, pair_keys

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
    number, columns = _read(path, quarantine)
    refused = np.zeros(len(number), dtype=np.bool_)

    def refuse(bad: NDArray[np.bool_], rule: str, *names: str) -> None:
        rows = np.flatnonzero(bad & ~refused)
        for row in rows.tolist():
            value = columns[names[0]][row] if len(names) == 1 else tuple(columns[name][row] for name in names)
            if quarantine is None:
                raise InputError(f"{path.name}, row {number[row]}: {rule}, got {value!r}")
            quarantine.refuse(path.name, int(number[row]), rule, value)
        refused[rows] = True

    users = interactions.users.idxs(columns["user_id"].tolist())
    items = interactions.items.idxs(columns["item_id"].tolist())
    side = Vocabulary(SIDES).idxs(columns["split"].tolist())
    refuse(users < 0, "user_id must be one of the shop's users", "user_id")
    refuse(items < 0, "item_id must be one of the shop's items", "item_id")
    refuse(side < 0, f"split must be one of {', '.join(SIDES)}", "split")

    pairs = Pairs.of(interactions)
    known = pair_keys(interactions)[pairs.first_event]
    keys = users * np.int64(max(len(interactions.items), 1)) + items
    refuse(~among(keys, known), "a listed pair must have an event in the interactions", "user_id", "item_id")
    refuse(pd.Series(keys).where(~refused).duplicated().to_numpy(), "a pair must be listed once", *COLUMNS)
    if refused.all():
        raise InputError(f"{path.name} has no usable row ({len(number)} rows, all refused)")

    side_of_pair = np.full(len(known), -1, dtype=np.int64)
    side_of_pair[np.searchsorted(known, keys[~refused])] = side[~refused]
    return assemble(path.stem, interactions, pairs, side_of_pair, side_of_pair[pairs.of_event] == 0)


def _read(path: Path, quarantine: Quarantine | None) -> tuple[NDArray[np.int64], dict[str, NDArray[np.object_]]]:
    """Each row's number in the file, and the three columns as text; a missing cell is "", no id and no split name."""
    if not path.is_file():
        raise InputError(f"split file {path} is not there")
    unread = quarantine or Quarantine()
    table = read_table(path, quarantine=unread)
    if quarantine is None and unread.refusals:
        first = unread.refusals[0]
        raise InputError(f"{path.name}, row {first.row}: {first.rule}, got {first.value}")
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(
            f"split file {path.name} must have the columns {', '.join(COLUMNS)}, {missing[0]!r} is missing"
        )
    columns = {}
    for column in COLUMNS:
        codes, texts = coded_ids(table[column])
        columns[column] = np.array([*texts, ""], dtype=object)[codes]
    return table.index.to_numpy(dtype=np.int64), columns
