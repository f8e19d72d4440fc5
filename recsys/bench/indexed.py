"""Benchmarks whose users and items are row numbers: a table of pairs with their sides, and feature matrices beside it.

interactions.parquet|csv|jsonl    user_idx, item_idx, split (train, valid or test); optional timestamp (UTC s)
NAME.inter                        MMRec's: userID, itemID, x_label (0 train, 1 valid, 2 test), tab-separated
text_feat.npy, image_feat.npy, audio_feat.npy      optional: row i is item i
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import Embeddings
from features.errors import InputError
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from recsys.bench.task import Task, Valid, task_of
from recsys.held_out import SIDES, Split
from recsys.models.knowledge import Knowledge

FEATURES = "_feat.npy"
MODALITIES = {"text": "text", "t": "text", "image": "image", "v": "image", "audio": "audio", "a": "audio"}
"""What stands before `_feat.npy` → the modality."""
MMREC = {"user_idx": ("userID", "user_id:token"), "item_idx": ("itemID", "item_id:token"), "split": ("x_label",)}
"""Our column → its names in an `.inter` file."""
MMREC_SIDES = dict(zip(("0", "1", "2"), SIDES, strict=True))


def read_inter(path: Path) -> pd.DataFrame:
    """MMRec's table with our column names, everything as text.

    Raises:
        InputError: it cannot be read or lacks a column.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a tab-separated table: {error}") from error
    names = {name: ours for ours, theirs in MMREC.items() for name in theirs if name in table.columns}
    for ours, theirs in MMREC.items():
        if ours not in names.values():
            raise InputError(f"{path.name} must have the column {theirs[0]}, it has {', '.join(table.columns)}")
    table = table[list(names)].rename(columns=names)
    table["split"] = table["split"].str.removesuffix(".0").map(lambda label: MMREC_SIDES.get(label, f"x_label {label}"))
    return table


def indexed_task(
    folder: Path,
    table: pd.DataFrame,
    table_name: str,
    *,
    refit: bool | None,
    quarantine: Quarantine,
    valid: Valid = "own",
) -> Task:
    """A task from a table of row numbers.

    Args:
        folder: where the features lie; its name is that of the data set.
        table: user_idx, item_idx, split, optional timestamp; its index counts the file's rows from 0.
        table_name: for error messages.
        refit: see `task_of`.
        valid: see `task_of`.
        quarantine: takes rows that are refused.

    Raises:
        InputError: a column is missing, no row is usable, or a feature matrix cannot be used.
    """
    for column in ("user_idx", "item_idx", "split"):
        if column not in table.columns:
            raise InputError(f"{table_name} must have the columns user_idx, item_idx, split; {column!r} is missing")
    table, user, item, side = _usable(table, table_name, quarantine)
    features = read_features(folder)
    n_items = max([int(item.max()) + 1, *(len(one) for one in features.values())])
    for name, one in features.items():
        if len(one) < n_items:
            raise InputError(f"{folder / name}{FEATURES} must have a row an item ({n_items}), it has {len(one)}")
    users, items = (Vocabulary(tuple(map(str, range(n)))) for n in (int(user.max()) + 1, n_items))
    times = pd.to_numeric(table["timestamp"], errors="coerce").to_numpy(np.float64) if "timestamp" in table else None
    events = Interactions(
        users,
        items,
        user,
        item,
        np.full(len(user), "interaction", dtype=object),
        np.ones(len(user), dtype=np.float32),
        times,
    )
    known = Knowledge(bare_catalog(items), Attributes.of([]), features, MatchScores.unknown(n_items))
    split = Split("its own", *(events.where(side == number) for number in range(len(SIDES))))
    return task_of(folder.resolve().name, split, known, refit=refit, valid=valid)


def _usable(
    table: pd.DataFrame, name: str, quarantine: Quarantine
) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows that keep every rule, their users, items and sides."""
    side = Vocabulary(SIDES).idxs(table["split"].astype(str).tolist())
    columns = {}
    kept = np.ones(len(table), dtype=np.bool_)

    def refuse(bad: NDArray[np.bool_], rule: str, values: pd.Series) -> None:
        rows = np.flatnonzero(bad & kept)
        quarantine.refuse_all(name, table.index[rows].tolist(), rule, values.iloc[rows].tolist())
        kept[rows] = False

    for column in ("user_idx", "item_idx"):
        number = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        refuse(~((number >= 0) & (number == np.floor(number))), f"{column} must be a whole number >= 0", table[column])
        columns[column] = np.where(kept, number, 0).astype(np.int64)
    refuse(side < 0, f"split must be one of {', '.join(SIDES)}", table["split"])
    pair = pd.Series(columns["user_idx"] * (columns["item_idx"].max(initial=0) + 1) + columns["item_idx"])
    spelled = table["user_idx"].astype(str) + ", " + table["item_idx"].astype(str)
    refuse(pair.where(kept).duplicated().to_numpy() & kept, "a pair must be listed once", spelled)
    if not kept.any():
        raise InputError(f"{name} has no usable row ({len(table)} rows, all refused: {quarantine.counts})")
    return table[kept], columns["user_idx"][kept], columns["item_idx"][kept], side[kept]


def read_features(folder: Path) -> dict[str, Embeddings]:
    """Feature matrices by modality; a row that is zero or not finite is a missing one.

    Raises:
        InputError: a file cannot be read, is no matrix of numbers, or is of an unknown modality.
    """
    found: dict[str, Embeddings] = {}
    for path in sorted(folder.glob(f"*{FEATURES}")):
        short = path.name.removesuffix(FEATURES)
        if short not in MODALITIES:
            raise InputError(f"{path}: features must be of one of {', '.join(MODALITIES)}, got {short!r}")
        if MODALITIES[short] in found:
            raise InputError(f"{path}: there is another file of {MODALITIES[short]} features")
        try:
            raw = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as an array: {error}") from error
        if raw.ndim != 2 or not np.issubdtype(raw.dtype, np.number) or np.iscomplexobj(raw):
            raise InputError(f"{path} must be a matrix of numbers [n_items, dim], got {raw.dtype} {raw.shape}")
        found[MODALITIES[short]] = Embeddings.of(raw.astype(np.float32), np.ones(len(raw), dtype=np.bool_), path.name)
    return {name: one for name, one in found.items() if one.mask.any()}


def bare_catalog(items: Vocabulary) -> Catalog:
    """Items of which nothing but the id is known."""
    n = len(items)
    blank = np.full(n, "", dtype=object)
    return Catalog(items, blank, blank, blank, np.full(n, np.nan), np.ones(n, dtype=np.bool_), Attributes.of([]))
