"""Read a log of shown slots: Open Bandit's layout, our service's impressions, or any table by its column names.

However long the table, some hundred thousand rows of it are in memory: its rows go to disk as numbers, are settled and
sorted there (`sorting.py`), and a log's columns are memory maps. What is written lies in the system's folder for
temporary files, about 200 bytes a slot, and is gone with the process.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq

from features.errors import InputError
from features.progress import bar
from features.quarantine import Quarantine
from features.shop.batches import TableFile
from features.shop.tables import find_table
from features.vocabulary import Vocabulary
from recsys.replay.attribution import Earnings
from recsys.replay.form import LogFormat
from recsys.replay.log import Log
from recsys.replay.log_files import COLUMNS, VISIT, LogFiles
from recsys.replay.propensities import estimate_propensities
from recsys.replay.slots import SlotReader
from recsys.replay.sorting import Settled
from recsys.replay.spill import Spill
from recsys.replay.traffic_parts import TrafficParts

PART_ROWS = 250_000
"""Rows in memory at once, about 25 MB."""
_ROW_BYTES = 40
"""Least size of a row as text, to guess how many there are."""


def read_logs(path: Path, form: LogFormat | None = None, *, quarantine: Quarantine) -> list[Log]:
    """Read a log, split by behavior policy and campaign where it has several.

    Rows of one campaign share a vocabulary: everything the campaign ever showed. Refused are rows without an item, with
    a position that is no whole number >= 0, an impossible propensity or reward, no time where others have one; slots
    that are there twice, users that behave like programs, and lists of which a slot was refused. Where no row has a
    propensity, they are estimated and the logs say so.

    Args:
        path: a .parquet, .csv or .jsonl file, or a folder that holds `impressions.*`.
        form: how to read it.
        quarantine: takes what is refused.

    Returns:
        one log for each policy and campaign, by name.

    Raises:
        InputError: the table is missing, cannot be read, lacks a column, or no row is left.
    """
    asked = form or LogFormat()
    if not path.exists():
        raise InputError(f"{path} does not exist: a log is a table of shown slots, or a folder that holds one")
    file = find_table(path, "impressions") if path.is_dir() else path
    if file is None:
        raise InputError(f"{path} must hold impressions.parquet, .csv or .jsonl")
    table = TableFile(file)
    form = asked.laid_out(table.columns, path)
    with TemporaryDirectory(prefix="recsys-replay-") as name:
        folder = Path(name)
        reader = SlotReader(file.name, table.columns, form, quarantine)
        n_parts = 1 + _rows_about(file) // PART_ROWS
        slots = Spill(folder / "slots", reader.dtype, n_parts)
        earnings = _earnings(folder, file, form, reader, n_parts)
        with bar(f"Reading {file.name}", total=None) as progress:
            for frame in table.batches(reader.wanted, quarantine=quarantine):
                records = reader.records(frame)
                slots.add(records, (reader.keys(records) % np.uint64(n_parts)).astype(np.int64))
                if earnings is not None:
                    earnings.touch(records)
                progress.advance(len(records))
        if earnings is not None:
            earnings.read(quarantine)
        settled = Settled(
            folder,
            file.name,
            slots,
            reader=reader,
            earnings=earnings,
            hygiene=form.hygiene,
            quarantine=quarantine,
        )
        logs = _logs(folder, file, settled, reader=reader, form=form, quarantine=quarantine)
    if not logs:
        raise InputError(f"{file.name} has no usable row: {quarantine.total} were refused, for {_first(quarantine)}")
    return sorted(logs, key=lambda log: log.name)


def _rows_about(file: Path) -> int:
    if file.suffix == ".parquet":
        return int(pq.read_metadata(file).num_rows)
    return file.stat().st_size // _ROW_BYTES


def _earnings(folder: Path, file: Path, form: LogFormat, reader: SlotReader, n_parts: int) -> Earnings | None:
    if form.events is None:
        return None
    if not (reader.has_request and reader.has_time):
        raise InputError(f"{file.name} must have columns request_id and timestamp, so that events can be joined")
    items, users = reader.codes["item"], reader.codes["user"]
    return Earnings(folder, form.events, form.attribution, items=items, users=users, n_parts=n_parts)


def _logs(
    folder: Path, file: Path, settled: Settled, *, reader: SlotReader, form: LogFormat, quarantine: Quarantine
) -> list[Log]:
    """The logs by policy and campaign, each one's columns written as the parts come, then mapped."""
    parts = TrafficParts(reader, form, quarantine)
    counted_from = int(1 <= reader.lowest_position < np.inf)
    kept = [
        name for name in ("marginal", "page", "scenario") if name in reader.found or len(reader.codes.get(name, ""))
    ]
    kept += [f"other {number}" for number in range(len(form.also))]
    written: dict[tuple[int, int], LogFiles] = {}
    for slots in settled.sorted_parts():
        further = {name: slots[name] for name in kept} | parts.columns(slots)
        for policy, campaign in np.unique(np.stack([slots["policy"], slots["campaign"]]), axis=1).T.tolist():
            if (policy, campaign) not in written:
                written[policy, campaign] = LogFiles(
                    folder / f"log {len(written)}",
                    settled.items_of[campaign],
                    n_users=len(reader.codes["user"]),
                    counted_from=counted_from,
                )
            mask = (slots["policy"] == policy) & (slots["campaign"] == campaign)
            written[policy, campaign].add(slots[mask], {name: values[mask] for name, values in further.items()})
    logs = []
    for codes, files in written.items():
        told = [
            (*reader.codes[name].names, "unknown")[code]
            for name, code in zip(("policy", "campaign"), codes, strict=True)
            if name in reader.found
        ]
        name = "/".join(told) or file.stem
        log = _log(name, files, reader=reader, form=form, parts=parts)
        logs.append(log if reader.some_propensity else _with_estimated(log))
    return logs


def _log(name: str, files: LogFiles, *, reader: SlotReader, form: LogFormat, parts: TrafficParts) -> Log:
    mapped, codes = files.mapped(), reader.codes
    segments = {name: (labels, mapped[f"segment {name}"]) for name, labels in parts.segments.items()}
    if files.knows_users:
        segments["user"] = (("first met", "met before"), mapped[VISIT])
    items = codes["item"].names
    return Log(
        name=name,
        items=Vocabulary(tuple(items[item] for item in files.items.tolist())),
        groups=parts.groups,
        given_above=bool(form.given_above) and files.n_requests < files.n_rows,
        others={other: mapped[f"other {number}"] for number, other in enumerate(form.also)},
        segments=segments,
        users=codes["user"].names,
        marginal=mapped.get("marginal"),
        page=(codes["page"].names, mapped["page"]) if "page" in mapped else None,
        scenario=(codes["scenario"].names, mapped["scenario"]) if "scenario" in mapped else None,
        **{column: mapped[column] for column in COLUMNS},  # type: ignore[arg-type]
    )


def _with_estimated(log: Log) -> Log:
    """The log with counted propensities, which it says."""
    how = estimate_propensities(log)
    note = f"PROPENSITIES ARE ESTIMATED ({how}), the log has none: whatever else decided what was shown goes unseen"
    return replace(log, estimated=how, notes=(note,))


def _first(quarantine: Quarantine) -> str:
    return next(iter(quarantine.counts), "no reason: the table is empty")
