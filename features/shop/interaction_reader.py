"""The table of events as interactions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.event_rules import RESERVED_RULE, is_reserved, type_read
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.catalog_reader import require, with_our_names
from features.shop.cells import Sieve
from features.shop.config import COLUMNS, EventRule, ShopConfig
from features.shop.tables import read_table
from features.shop.timestamps import utc_seconds
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class InteractionsRead:
    """Events and what is worth telling about how they were read.

    Args:
        interactions: the events.
        left_out: event type -> number of good rows that its rule leaves out.
        ignored: columns that were not read.
        remarks: what else one should know, in sentences.
    """

    interactions: Interactions
    left_out: dict[str, int] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_interactions(
    path: Path, items: Vocabulary, known_users: Iterable[str], config: ShopConfig, *, quarantine: Quarantine
) -> InteractionsRead:
    """Read `interactions.*`, vectorized: a million rows take about a second.

    Refused are rows without user or item, of an unknown item, with an event_type that is missing or reserved
    (`RESERVED_TYPES`), an event_value that is no number or missing where the type's rule asks for one, or a timestamp
    that is missing, unreadable or not in [1990, 2100). Rows left out by the rule of their type (weight 0, or below its
    min_value) are counted, not refused; their users are users all the same.

    Args:
        path: the table.
        items: the catalog's ids.
        known_users: users who come first in the vocabulary, whether they have events or not.
        config: of the shop.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read, or lacks user_id or item_id.
    """
    frame = read_table(path, quarantine=quarantine)
    frame, hidden = with_our_names(frame, "interactions", path, config)
    require(frame, "interactions", path, ("user_id", "item_id"))
    ignored = [str(name) for name in frame.columns if name not in COLUMNS["interactions"]] + hidden
    remarks: list[str] = []
    sieve = Sieve(path.name, frame, quarantine)

    user_codes, user_ids = cells.coded_ids(frame["user_id"])
    item_codes, item_ids = cells.coded_ids(frame["item_id"])
    sieve.refuse(user_codes < 0, "user_id is missing", frame["user_id"])
    sieve.refuse(item_codes < 0, "item_id is missing", frame["item_id"])
    item_idx = np.append(items.idxs(item_ids), -1)[item_codes]
    sieve.refuse(item_idx < 0, "item_id is not in the item table", frame["item_id"])
    types, names = _types(frame, sieve, config)
    timestamp = _times(frame, sieve, config, remarks)
    rules = {name: config.rule(name) for name in names}
    weight = _weights(frame, sieve, types, rules=rules, remarks=remarks)

    good = sieve.kept
    seen = np.zeros(len(user_ids), dtype=bool)
    seen[user_codes[good]] = True
    users = Vocabulary.of([*known_users, *(user_ids[code] for code in np.flatnonzero(seen).tolist())])
    kept = good & (weight > 0)
    dropped = np.bincount(types[good & ~kept], minlength=len(names))
    interactions = Interactions(
        users=users,
        items=items,
        user_idx=users.idxs(user_ids)[user_codes[kept]],
        item_idx=item_idx[kept],
        event_type=np.array(names, dtype=object)[types[kept]],
        weight=weight[kept].astype(np.float32),
        timestamp=None if timestamp is None else timestamp[kept],
    )
    left_out = {name: int(count) for name, count in zip(names, dropped.tolist(), strict=True) if count}
    return InteractionsRead(interactions, left_out, ignored, remarks)


def _types(frame: pd.DataFrame, sieve: Sieve, config: ShopConfig) -> tuple[NDArray[np.int64], list[str]]:
    """Code of each row's event type, and the types, in lower case."""
    if "event_type" not in frame.columns:
        return np.zeros(len(frame), dtype=np.int64), [type_read(config.default_event_type)]
    codes, spelled = cells.coded_ids(frame["event_type"])
    sieve.refuse(codes < 0, "event_type is missing", frame["event_type"])
    reserved = np.array([is_reserved(name) for name in spelled] + [False])
    sieve.refuse(reserved[codes], RESERVED_RULE, frame["event_type"])
    names = list(dict.fromkeys(type_read(name) for name in spelled))
    lower = np.array([names.index(type_read(name)) for name in spelled] + [0], dtype=np.int64)
    return lower[codes], names or [config.default_event_type]


def _times(frame: pd.DataFrame, sieve: Sieve, config: ShopConfig, remarks: list[str]) -> NDArray[np.float64] | None:
    if "timestamp" not in frame.columns:
        return None
    column = frame["timestamp"]
    if not cells.present(column).any():
        remarks.append(f"the timestamp column of {sieve.file} is empty: the events are taken to have no times")
        return None
    timestamp = utc_seconds(column, timezone=config.timezone)
    sieve.refuse(np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", column)
    return timestamp


def _weights(
    frame: pd.DataFrame, sieve: Sieve, types: NDArray[np.int64], *, rules: dict[str, EventRule], remarks: list[str]
) -> NDArray[np.float64]:
    """Weight of each row, float64 [n_rows]; 0 where the rule of its type leaves it out."""
    weight = np.array([rule.weight for rule in rules.values()])[types]
    least = np.array([-np.inf if rule.min_value is None else rule.min_value for rule in rules.values()])[types]
    if "event_value" not in frame.columns:
        for name, rule in rules.items():
            if rule.min_value is not None:
                remarks.append(f"{name} events have no event_value, so that none is below {rule.min_value:g}")
        return weight
    if "event_type" not in frame.columns and all(rule.min_value is None for rule in rules.values()):
        remarks.append(
            f"event_value is not used: all events are {next(iter(rules))!r}; where it is a rating, say in shop.toml: "
            'default_event_type = "rating"'
        )
    value, bad = cells.numbers(frame["event_value"])
    sieve.refuse(bad, "event_value must be a finite number", frame["event_value"])
    needed = ~np.isneginf(least) & (weight > 0) & np.isnan(value)
    sieve.refuse(needed, "event_value is missing, and events of this type are judged by it", frame["event_value"])
    return np.where(np.isnan(value) | (value >= least), weight, 0.0)
