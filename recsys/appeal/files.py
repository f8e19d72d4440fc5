"""Counters on disk: a table, and beside it what it means, with the table's hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory

FORMAT = 1
TABLE, ABOUT = "counters.parquet", "counters.json"
_NUMBERS = ("shown_s", "known_s", "clicks", "looks")
_SAID = ("randomized", "half_life_s", "window_s", "until_s")


def write_counters(folder: Path, history: CounterHistory) -> None:
    """Leave `counters.parquet` and, last, `counters.json` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.array(history.items.ids, dtype=object)[history.item_idx]
    table = pa.table({"item_id": pa.array(ids, pa.string()), **{name: getattr(history, name) for name in _NUMBERS}})
    aside = folder / f".{TABLE}.{os.getpid()}"
    pq.write_table(table, aside, compression="zstd")
    about = {
        "format": FORMAT,
        "rows": len(history),
        "sha256": _hash(aside),
        "examination": history.examination.curves,
        **{name: getattr(history, name) for name in _SAID},
    }
    aside.replace(folder / TABLE)
    unfinished = folder / f".{ABOUT}.{os.getpid()}"
    unfinished.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))
    unfinished.replace(folder / ABOUT)


def read_counters(folder: Path) -> CounterHistory:
    """Read what `write_counters` left.

    Raises:
        InputError: a file is missing, of another format, or not what it was when it was written.
    """
    for name in (TABLE, ABOUT):
        if not (folder / name).is_file():
            raise InputError(f"{folder} must be a folder that recsys log counters left, it has no {name}")
    try:
        about: dict[str, Any] = orjson.loads((folder / ABOUT).read_bytes())
        found = about["format"]
        if found != FORMAT:
            raise InputError(f"{folder / ABOUT}: format must be {FORMAT}, it is {found}")
        if _hash(folder / TABLE) != about["sha256"]:
            raise InputError(f"{folder / TABLE}: is not the table that {ABOUT} speaks of: its SHA-256 differs")
        examination = Examination({name: tuple(map(float, curve)) for name, curve in about["examination"].items()})
        said = {name: float(about[name]) for name in _SAID}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / ABOUT}: cannot be read: {error}") from error
    table = pq.read_table(folder / TABLE)
    codes = table["item_id"].combine_chunks().dictionary_encode()
    items = Vocabulary(tuple(codes.dictionary.to_pylist()))
    numbers = {name: table[name].to_numpy().astype(np.float64) for name in _NUMBERS}
    item_idx = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return CounterHistory(
        items,
        item_idx,
        shown_s=numbers["shown_s"],
        known_s=numbers["known_s"],
        clicks=numbers["clicks"],
        looks=numbers["looks"],
        examination=examination,
        randomized=said["randomized"],
        half_life_s=said["half_life_s"],
        window_s=said["window_s"],
        until_s=said["until_s"],
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
