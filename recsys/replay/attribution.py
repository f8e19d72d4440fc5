"""Which shown slot earned an event: by the recommendation it names, or by the last one that showed the item."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.batches import TableFile
from features.shop.cells import Sieve
from features.shop.timestamps import unit_of, utc_seconds
from recsys.replay.codes import Codes, hashed
from recsys.replay.spill import Records, SeenHashes, Spill


@dataclass(frozen=True)
class AttributionRules:
    """When an event counts for a slot.

    Args:
        window_s: it must come at most so long after the slot was shown, and not before.
        event_types: these count, such as {"view", "click"}.
        value: what an event is worth: 1 each ("count"), at most 1 a slot ("once"), or its event_value ("value").
        last_touch: an event that names no recommendation counts for the newest slot that showed its item to its user.
    """

    window_s: float = 86_400.0
    event_types: Collection[str] = ("click", "view")
    value: str = "once"
    last_touch: bool = False

    def __post_init__(self) -> None:
        if not self.window_s > 0:
            raise InputError(f"an attribution window must be > 0 s, got {self.window_s:g}")
        if self.value not in ("once", "count", "value"):
            raise InputError(f"an event is worth 'once', 'count' or 'value', got {self.value!r}")


EVENT = np.dtype([("request", "u8"), ("item", "i4"), ("user", "i4"), ("time", "f8"), ("worth", "f8")])
TOUCH = np.dtype([("request", "u8"), ("item", "i4"), ("user", "i4"), ("time", "f8")])


class Earnings:
    """What events earned, on disk in the same parts as the slots.

    Args:
        folder: for what is kept on disk.
        path: table of events: item_id, timestamp, event_type; optional recommendation_id (or request_id), user_id,
            event_value, event_id. An event_id that is there twice counts once.
        rules: what counts for what.
        items: of the slots.
        users: of the slots.
        n_parts: parts of the slots, by the hash of their request.

    Raises:
        InputError: the table lacks a column.
    """

    def __init__(
        self, folder: Path, path: Path, rules: AttributionRules, *, items: Codes, users: Codes, n_parts: int
    ) -> None:
        self._table, self._rules, self._items, self._users = TableFile(path), rules, items, users
        there = self._table.columns
        for name in ("item_id", "timestamp", "event_type", *(("event_value",) if rules.value == "value" else ())):
            if name not in there:
                raise InputError(f"{path.name} must have a column {name}; it has {', '.join(map(str, there))}")
        self._link = next((name for name in ("recommendation_id", "request_id") if name in there), None)
        if self._link is None and not rules.last_touch:
            raise InputError(
                f"{path.name} must have a column recommendation_id, or events must count for the last touch"
            )
        self._named = Spill(folder / "named", EVENT, n_parts)
        self._loose = Spill(folder / "loose", EVENT, n_parts)
        self._touched = Spill(folder / "touched", TOUCH, n_parts)

    def touch(self, slots: Records) -> None:
        """Take note of slots that events without a recommendation may count for."""
        if self._rules.last_touch:
            known = slots[slots["kept"] & (slots["user"] >= 0) & np.isfinite(slots["time"])]
            self._touched.add(known[list(TOUCH.names or ())].astype(TOUCH), known["user"] % self._touched.n_parts)

    def read(self, quarantine: Quarantine) -> None:
        """Read the events, when all slots are known; `quarantine` takes those that cannot be read."""
        seen, unit = SeenHashes(), None
        wanted = ["item_id", "timestamp", "event_type", "event_value", "event_id", "user_id", self._link]
        for frame in self._table.batches([n for n in self._table.columns if n in wanted], quarantine=quarantine):
            unit = unit or unit_of(frame["timestamp"])
            events, named = self._events(frame, seen, unit, quarantine)
            self._named.add(events[named], _part_of(events["request"][named], self._named.n_parts))
            if self._rules.last_touch:
                loose = events[~named & (events["user"] >= 0)]
                self._loose.add(loose, loose["user"] % self._loose.n_parts)
        if self._rules.last_touch:
            for number in range(self._loose.n_parts):
                found = _last_touch(self._touched.part(number), self._loose.part(number))
                self._named.add(found, _part_of(found["request"], self._named.n_parts))

    def pay(self, slots: Records, number: int) -> None:
        """Give the slots of a part their reward; of two that show the same item of a request, the first."""
        events = self._named.part(number)
        slot_of = pd.MultiIndex.from_arrays([slots["request"], slots["item"]])
        first = ~slot_of.duplicated()
        row_of = pd.Series(np.arange(len(slots))[first], index=slot_of[first])
        row = row_of.reindex(pd.MultiIndex.from_arrays([events["request"], events["item"]])).to_numpy(dtype=np.float64)
        found = np.flatnonzero(np.isfinite(row))
        rows = row[found].astype(np.int64)
        age = events["time"][found] - slots["time"][rows]
        in_time = (age >= 0) & (age <= self._rules.window_s)
        reward = np.bincount(rows[in_time], weights=events["worth"][found][in_time], minlength=len(slots))
        slots["reward"] = np.minimum(reward, 1.0) if self._rules.value == "once" else reward

    def _events(
        self, frame: pd.DataFrame, seen: SeenHashes, unit: float | None, quarantine: Quarantine
    ) -> tuple[Records, NDArray[np.bool_]]:
        """The events of a batch that count, and which of them name a recommendation."""
        rules, sieve = self._rules, Sieve(self._table.path.name, frame, quarantine)
        times = utc_seconds(frame["timestamp"], timezone="UTC", per_s=unit)
        sieve.refuse(
            np.isnan(times), "timestamp must be a time from 1990 to 2099, in one unit for all rows", frame["timestamp"]
        )
        sieve.refuse(cells.coded_ids(frame["item_id"])[0] < 0, "item_id is missing", frame["item_id"])
        counts = np.isin(cells.texts(frame["event_type"]), list(rules.event_types))
        worth = np.ones(len(frame))
        if rules.value == "value":
            worth, _ = cells.numbers(frame["event_value"])
            sieve.refuse(np.isnan(worth) & counts, "event_value is no number", frame["event_value"])
        if "event_id" in frame:
            hashes, missing = hashed(frame["event_id"])
            again = np.zeros(len(frame), dtype=np.bool_)
            again[~missing] = seen.again(hashes[~missing])
            sieve.refuse(again, "event_id is there twice", frame["event_id"])
        found = np.zeros(len(frame), dtype=EVENT)
        nameless = np.ones(len(frame), dtype=np.bool_)
        if self._link is not None:
            found["request"], nameless = hashed(frame[self._link])
        found["item"] = self._items.find(frame["item_id"])
        found["user"] = self._users.find(frame["user_id"]) if "user_id" in frame else -1
        found["time"], found["worth"] = times, worth
        kept = sieve.kept & counts & (found["item"] >= 0)  # what was never shown can have earned nothing
        return found[kept], ~nameless[kept]


def _part_of(request: NDArray[np.uint64], n_parts: int) -> NDArray[np.int64]:
    return (request % np.uint64(n_parts)).astype(np.int64)


def _last_touch(slots: Records, events: Records) -> Records:
    """The events that found a slot, with its request: the newest earlier one of their user and item."""
    keys = ["user", "item"]
    left = pd.DataFrame({name: events[name] for name in (*keys, "time")}).assign(event=np.arange(len(events)))
    right = pd.DataFrame({name: slots[name] for name in (*keys, "time")}).assign(row=np.arange(len(slots)))
    joined = pd.merge_asof(left.sort_values("time"), right.sort_values("time"), on="time", by=keys).dropna()
    found: Records = events[joined["event"].to_numpy()]
    found["request"] = slots["request"][joined["row"].to_numpy(dtype=np.int64)]
    return found
