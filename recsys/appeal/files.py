"""Counters on disk: a table, and beside it what it means, with the table's hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.aside import replacing
from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.run_folder import write_atomically

FORMAT = 2
TABLE, ABOUT = "counters.parquet", "counters.json"
# by the names of `CounterHistory`
_NUMBERS = ("shown_s", "known_s", "shown", "clicks", "fair_shown", "fair_clicks")
_SAID = ("randomized", "half_life_s", "window_s", "until_s")


def write_counters(folder: Path, history: CounterHistory) -> None:
    """Leave `counters.parquet` and, last, `counters.json` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {
        "item_id": (history.items.ids, history.item_idx),
        "scenario": (history.scenarios, history.scenario_idx),
        "surface": (history.surfaces, history.surface_idx),
    }
    columns: dict[str, Any] = {
        name: pa.DictionaryArray.from_arrays(rows.astype(np.int32), pa.array(names, pa.string()))
        for name, (names, rows) in named.items()
    }
    columns |= {"position": history.position, **{name: getattr(history, name) for name in _NUMBERS}}
    with replacing(folder / TABLE) as unfinished:
        pq.write_table(pa.table(columns), unfinished, compression="zstd")
        about = {
            "format": FORMAT,
            "rows": len(history),
            "sha256": _hash(unfinished),
            "scenarios": history.scenarios,
            "surfaces": history.surfaces,
            "examination": history.examination(history.end_s).curves,
            **{name: getattr(history, name) for name in _SAID},
        }
    write_atomically(folder / ABOUT, orjson.dumps(about, option=orjson.OPT_INDENT_2))


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
            raise InputError(f"{folder / ABOUT}: format must be {FORMAT}, it is {found}: run recsys log counters again")
        if _hash(folder / TABLE) != about["sha256"]:
            raise InputError(f"{folder / TABLE}: is not the table that {ABOUT} speaks of: its SHA-256 differs")
        scenarios, surfaces = (tuple(map(str, about[name])) for name in ("scenarios", "surfaces"))
        said = {name: float(about[name]) for name in _SAID}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / ABOUT}: cannot be read: {error}") from error
    table = pq.read_table(folder / TABLE)
    items, item_idx = _coded(table["item_id"])
    names = {"scenario": scenarios, "surface": surfaces}
    rows = {}
    for name, known in names.items():
        there, codes = _coded(table[name])
        rows[f"{name}_idx"] = np.array([known.index(one) for one in there], dtype=np.int64)[codes]
    numbers = {name: table[name].to_numpy().astype(np.float64) for name in _NUMBERS}
    return CounterHistory(
        items=Vocabulary(items),
        scenarios=scenarios,
        surfaces=surfaces,
        item_idx=item_idx,
        scenario_idx=rows["scenario_idx"],
        surface_idx=rows["surface_idx"],
        position=table["position"].to_numpy().astype(np.int64),
        **numbers,
        randomized=said["randomized"],
        half_life_s=said["half_life_s"],
        window_s=said["window_s"],
        until_s=said["until_s"],
    )


def _coded(column: pa.ChunkedArray) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The different names of a column, and which of them each row has."""
    codes = column.combine_chunks()
    if not isinstance(codes, pa.DictionaryArray):
        codes = codes.dictionary_encode()
    return tuple(codes.dictionary.to_pylist()), codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
