"""Parts of a log's traffic: kinds of visitors, and segments by columns of the log or of its items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.tables import read_table
from recsys.replay.form import LogFormat
from recsys.replay.log import Coded
from recsys.replay.slots import SlotReader
from recsys.replay.spill import Records


class TrafficParts:
    """The labels of a table's parts, and which part each slot is in.

    Args:
        reader: has read the whole table.
        form: names the columns.
        quarantine: takes rows of the table of items that are no rows.

    Raises:
        InputError: a segment is a column of neither the log nor the items, or these have no item_id.
    """

    def __init__(self, reader: SlotReader, form: LogFormat, quarantine: Quarantine) -> None:
        self.groups, place = reader.codes["group"].common()
        if len(reader.codes["group"]) > len(self.groups):
            self.groups = (*self.groups[:-1], "others")
        self._group = np.where(place < 0, len(self.groups) - 1, place)
        about = None if form.items is None else read_table(form.items, quarantine=quarantine)
        if about is not None and "item_id" not in about.columns:
            raise InputError(f"--items must have a column item_id; it has {', '.join(map(str, about.columns))}")
        self._segments: dict[str, tuple[str, Coded]] = {}
        for name in form.segments:
            if name in reader.of_log:
                self._segments[name] = (f"segment {reader.of_log.index(name)}", reader.codes[name].common())
            elif about is not None and name in about.columns:
                ids, labels = cells.texts(about["item_id"]).tolist(), cells.texts(about[name]).tolist()
                self._segments[name] = ("item", reader.codes["item"].common(dict(zip(ids, labels, strict=True))))
            else:
                raise InputError(f"--segment {name!r} is a column of neither the log nor --items")

    @property
    def segments(self) -> dict[str, tuple[str, ...]]:
        """Labels of each segment."""
        return {name: labels for name, (_, (labels, _)) in self._segments.items()}

    def columns(self, slots: Records) -> dict[str, NDArray[Any]]:
        """Group, and each segment's code by "segment NAME", of some slots."""
        found = {"group": self._group[slots["group"]]}
        for name, (field, (_, place)) in self._segments.items():
            found[f"segment {name}"] = place[slots[field]].astype(np.int16)
        return found
