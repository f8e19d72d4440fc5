"""Shown slots as records of numbers, from a batch of a table's rows; what breaks a rule is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.timestamps import unit_of, utc_seconds
from recsys.replay.codes import Codes, hashed
from recsys.replay.columns import find_columns, optional
from recsys.replay.form import LogFormat
from recsys.replay.log_cells import positions_of, propensities_of, rewards_of
from recsys.replay.spill import Records

TIME_RULE = "timestamp must be a time from 1990 to 2099, in one unit for all rows"


class SlotReader:
    """Reads the batches of one table; what it learns of all of them is here when the last one is read.

    A record has: row (place in the file), kept, request (hash of its id), item, position, reward, propensity, marginal,
    user, time, policy, campaign, group, page, scenario; "other 0", ... and "segment 0", ...; begin and first are left
    to the sorting. Texts are numbers of `Codes`, -1 for none; numbers that are missing are NaN.

    Args:
        file: name of the table.
        there: its columns.
        form: how to read it.
        quarantine: takes what is refused.

    Raises:
        InputError: a column is not there.
    """

    def __init__(self, file: str, there: list[str], form: LogFormat, quarantine: Quarantine) -> None:
        needed = [*form.also, *form.group]
        needed += [form.reward] if form.reward != "click" and form.events is None else []
        self.found = find_columns(there, form.columns, file=file, also=needed)
        self.has_request, self.has_time = "request_id" in self.found, "timestamp" in self.found
        self._file, self._form, self._quarantine = file, form, quarantine
        self._there = there
        names = ("item", "user", "policy", "campaign", "group", "page", "scenario", *form.segments)
        self.codes = {name: Codes() for name in names}
        self.of_log = [name for name in form.segments if name in there]
        self.lowest_position = np.inf
        self.some_propensity = False
        self._unit: float | None = None
        self.dtype = np.dtype(
            [("row", "i8"), ("request", "u8"), ("first", "i8"), ("begin", "f8"), ("time", "f8"), ("reward", "f8"),
             ("propensity", "f8"), ("marginal", "f8"), ("item", "i4"), ("position", "i4"), ("user", "i4"),
             ("policy", "i4"), ("campaign", "i4"), ("group", "i4"), ("page", "i4"), ("scenario", "i4"),
             *((f"other {number}", "f8") for number in range(len(form.also))),
             *((f"segment {number}", "i4") for number in range(len(self.of_log))), ("kept", "?")]
        )  # fmt: skip

    @property
    def wanted(self) -> list[str]:
        """Those of the table's columns that are read."""
        form = self._form
        names = {*self.found.values(), *form.also, *form.group, *form.segments, form.reward, "subject"}
        return [name for name in self._there if name in names]

    def records(self, frame: pd.DataFrame) -> Records:
        """The rows of a batch."""
        n, form, found, codes = len(frame), self._form, self.found, self.codes
        sieve = Sieve(self._file, frame, self._quarantine)
        shown = frame[found["item_id"]]
        taken: dict[str, NDArray[Any]] = {
            "row": frame.index.to_numpy(dtype=np.int64),
            "item": codes["item"].of_ids(shown),
        }
        sieve.refuse(taken["item"] < 0, "item_id is missing", shown)
        taken["position"], lowest = positions_of(optional(frame, found, "position"), n, sieve)
        self.lowest_position = min(self.lowest_position, lowest)
        taken["time"] = self._times(optional(frame, found, "timestamp"), n, sieve)
        taken["request"] = taken["row"].astype(np.uint64)
        if (column := optional(frame, found, "request_id")) is not None:
            taken["request"], missing = hashed(column)
            sieve.refuse(missing, "request_id is missing", column)
        column = optional(frame, found, "user_id")
        taken["user"] = np.full(n, -1) if column is None else codes["user"].of_ids(column)
        taken["propensity"], some = propensities_of(optional(frame, found, "propensity"), n, sieve)
        self.some_propensity |= some
        taken["marginal"] = np.full(n, np.nan)
        if (column := optional(frame, found, "marginal")) is not None:
            taken["marginal"], _ = cells.numbers(column)
            sieve.refuse((taken["marginal"] <= 0) | (taken["marginal"] > 1), "marginal must be in (0, 1]", column)
        reward = None if form.events else form.reward
        taken["reward"], others = rewards_of(frame, found, sieve, reward=reward, also=form.also)
        taken |= {f"other {number}": others[name] for number, name in enumerate(form.also)}
        for name in ("policy", "campaign", "scenario"):
            column = optional(frame, found, name)
            taken[name] = np.full(n, -1) if column is None else codes[name].of_ids(column)
        taken["group"] = codes["group"].of_texts(_combined(frame, form.group))
        taken |= {
            f"segment {number}": codes[name].of_texts(cells.texts(frame[name]))
            for number, name in enumerate(self.of_log)
        }
        taken["page"] = codes["page"].of_texts(self._pages(frame, taken["campaign"]))
        taken["kept"] = sieve.kept
        records = np.zeros(n, dtype=self.dtype)
        for name, values in taken.items():
            records[name] = values
        return records

    def keys(self, records: Records) -> NDArray[np.uint64]:
        """What records must have in common to lie in one part: the request; without one, all that a slot is."""
        if self.has_request or not (self.has_time and "user_id" in self.found):
            return records["request"]
        same = pd.DataFrame({name: records[name] for name in ("user", "time", "item", "position")})
        return np.asarray(pd.util.hash_pandas_object(same, index=False), dtype=np.uint64)

    def _times(self, column: pd.Series | None, n: int, sieve: Sieve) -> NDArray[np.float64]:
        if column is None:
            return np.full(n, np.nan)
        if self._unit is None:
            self._unit = unit_of(column)
        times = utc_seconds(column, timezone="UTC", per_s=self._unit)
        sieve.refuse(np.isnan(times), TIME_RULE, column)
        return times

    def _pages(self, frame: pd.DataFrame, campaign: NDArray[np.int64]) -> NDArray[np.object_]:
        """The item whose page each slot was on; the service's logs call it the subject of what is similar."""
        if (column := optional(frame, self.found, "page")) is not None:
            return cells.texts(column)
        if "subject" in frame.columns and "similar" in self.codes["campaign"].names:
            similar = campaign == self.codes["campaign"].names.index("similar")
            return np.where(similar, cells.texts(frame["subject"]), "")
        return np.full(len(frame), "", dtype=object)


def _combined(frame: pd.DataFrame, columns: tuple[str, ...]) -> NDArray[np.object_]:
    """Combinations of the values of some columns as one text each."""
    if not columns:
        return np.full(len(frame), "all", dtype=object)
    texts = (np.where((text := cells.texts(frame[name])) == "", "unknown", text) for name in columns)
    return np.array([*(" · ".join(row) for row in zip(*texts, strict=True)), None], dtype=object)[:-1]
