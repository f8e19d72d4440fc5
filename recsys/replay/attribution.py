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
from features.shop.cells import Sieve
from features.shop.tables import read_table
from features.shop.timestamps import utc_seconds


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


@dataclass(frozen=True, eq=False)
class Attributed:
    """What events earned.

    Args:
        reward: float64 [slots].
        n_events: events of the types that count.
        n_used: those that found a slot.
    """

    reward: NDArray[np.float64]
    n_events: int
    n_used: int


def attribute(slots: pd.DataFrame, path: Path, rules: AttributionRules, *, quarantine: Quarantine) -> Attributed:
    """Join events to slots.

    Args:
        slots: request_id, item_id, user_id (text, "" where missing) and timestamp (UTC s), a row a slot.
        path: the events: item_id, timestamp, event_type; optional recommendation_id (or request_id), user_id,
            event_value, event_id. An event_id that is there twice counts once.
        rules: what counts for what.
        quarantine: takes events that cannot be read.

    Raises:
        InputError: the table lacks a column.
    """
    events = _read_events(path, rules, quarantine)
    reward = np.zeros(len(slots))
    named = events[events["request_id"] != ""]
    slot_of = pd.MultiIndex.from_frame(slots[["request_id", "item_id"]].reset_index(drop=True))
    first = ~slot_of.duplicated()
    row_of = pd.Series(np.arange(len(slots))[first], index=slot_of[first])
    row = row_of.reindex(pd.MultiIndex.from_frame(named[["request_id", "item_id"]])).to_numpy(dtype=np.float64)
    used = _pay(reward, slots, row, named, rules)
    if rules.last_touch:
        loose = events[(events["request_id"] == "") & (events["user_id"] != "")]
        used += _pay(reward, slots, _last_touch(slots, loose), loose, rules)
    if rules.value == "once":
        reward = np.minimum(reward, 1.0)
    return Attributed(reward, len(events), used)


def _pay(
    reward: NDArray[np.float64],
    slots: pd.DataFrame,
    row: NDArray[np.float64],
    events: pd.DataFrame,
    rules: AttributionRules,
) -> int:
    """Add the worth of events to their slots where they come in time; how many did."""
    found = np.flatnonzero(np.isfinite(row))
    rows = row[found].astype(np.int64)
    age = events["timestamp"].to_numpy()[found] - slots["timestamp"].to_numpy()[rows]
    in_time = (age >= 0) & (age <= rules.window_s)
    np.add.at(reward, rows[in_time], events["worth"].to_numpy()[found][in_time])
    return int(in_time.sum())


def _last_touch(slots: pd.DataFrame, events: pd.DataFrame) -> NDArray[np.float64]:
    """For each event the newest earlier slot of its user and item, NaN where there is none."""
    keys = ["user_id", "item_id"]
    left = events[[*keys, "timestamp"]].assign(event=np.arange(len(events))).sort_values("timestamp")
    right = slots[[*keys, "timestamp"]].assign(row=np.arange(len(slots), dtype=np.float64)).sort_values("timestamp")
    joined = pd.merge_asof(left, right, on="timestamp", by=keys)
    return joined.sort_values("event")["row"].to_numpy(dtype=np.float64)


def _read_events(path: Path, rules: AttributionRules, quarantine: Quarantine) -> pd.DataFrame:
    frame = read_table(path, quarantine=quarantine)
    for name in ("item_id", "timestamp", "event_type"):
        if name not in frame.columns:
            raise InputError(f"{path.name} must have a column {name}; it has {', '.join(map(str, frame.columns))}")
    link = next((name for name in ("recommendation_id", "request_id") if name in frame.columns), None)
    if link is None and not rules.last_touch:
        raise InputError(f"{path.name} must have a column recommendation_id, or events must count for the last touch")
    sieve = Sieve(path.name, frame, quarantine)
    timestamp = utc_seconds(frame["timestamp"], timezone="UTC")
    sieve.refuse(
        np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", frame["timestamp"]
    )
    item = cells.texts(frame["item_id"])
    sieve.refuse(item == "", "item_id is missing", frame["item_id"])
    kind = cells.texts(frame["event_type"])
    worth = np.ones(len(frame))
    if rules.value == "value":
        if "event_value" not in frame.columns:
            raise InputError(f"{path.name} must have a column event_value where events are worth their value")
        worth, _ = cells.numbers(frame["event_value"])
        sieve.refuse(
            np.isnan(worth) & np.isin(kind, list(rules.event_types)), "event_value is no number", frame["event_value"]
        )
    if "event_id" in frame.columns:
        again = frame["event_id"].duplicated().to_numpy() & frame["event_id"].notna().to_numpy()
        sieve.refuse(again, "event_id is there twice", frame["event_id"])
    kept = sieve.kept & np.isin(kind, list(rules.event_types))
    return pd.DataFrame(
        {
            "request_id": (cells.texts(frame[link]) if link else np.full(len(frame), "", dtype=object))[kept],
            "user_id": (cells.texts(frame["user_id"]) if "user_id" in frame else np.full(len(frame), "", dtype=object))[
                kept
            ],
            "item_id": item[kept],
            "timestamp": timestamp[kept],
            "worth": worth[kept],
        }
    )
