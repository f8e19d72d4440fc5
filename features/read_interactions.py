"""From the event table to `Interactions`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.shop_config import ShopConfig
from features.tables import as_numbers, as_text, read_table
from features.timestamps import utc_seconds
from features.vocabulary import Vocabulary

DEFAULT_TYPE = "interaction"
"""Type of the events of a shop that does not tell types apart."""

KNOWN = ("user_id", "item_id", "event_type", "event_value", "timestamp")


@dataclass(frozen=True, eq=False)
class ReadInteractions:
    """What reading the event table gave.

    Args:
        interactions: the events that say something about taste, in file order.
        n_rows: rows of the file.
        left_out: events that a rule leaves out (weight 0, or a value below the type's least), by type.
        ignored_columns: columns without a meaning here.
    """

    interactions: Interactions
    n_rows: int
    left_out: dict[str, int]
    ignored_columns: tuple[str, ...]


def read_interactions(
    path: Path | None, config: ShopConfig, items: Vocabulary, more_users: list[str], *, quarantine: Quarantine
) -> ReadInteractions:
    """Read the events.

    Refused are rows without a user or an item, of an item that is not in the catalog, with an unusable time (where
    there is a time column), or with a value that is no finite number (or missing where the type's rule needs one).

    Args:
        path: the event table, None where the shop has none.
        config: column names, what events mean, time zone.
        items: the catalog's items.
        more_users: users of the user table; they follow those of the events in the vocabulary.
        quarantine: takes what is refused.

    Raises:
        InputError: `user_id` or `item_id` is missing.
    """
    if path is None:
        return ReadInteractions(Interactions.empty(Vocabulary.of(more_users), items), 0, {}, ())
    table = read_table(path, config.columns.interactions, quarantine=quarantine)
    for name in ("user_id", "item_id"):
        if name not in table.columns:
            raise InputError(f"{path}: column {name!r} is missing; there are {', '.join(table.columns) or 'none'}")
    rows = table.index.to_numpy()
    user, item = as_text(table["user_id"]), as_text(table["item_id"])
    item_idx = _look_up(item, items)
    value, bad_value = (
        as_numbers(table["event_value"]) if "event_value" in table else (np.full(len(table), np.nan), None)
    )
    event_type = as_text(table["event_type"]) if "event_type" in table else np.full(len(table), "", dtype=object)
    event_type = np.where(event_type == "", DEFAULT_TYPE, event_type)
    timestamp = utc_seconds(table["timestamp"], timezone=config.timezone) if "timestamp" in table else None
    weight, least = _rules(event_type, config)

    refused = np.zeros(len(table), dtype=bool)

    def refuse(bad: NDArray[np.bool_], rule: str, values: NDArray[Any]) -> None:
        new = bad & ~refused
        quarantine.refuse_all(path.name, rows[new], rule, values[new].tolist())
        refused[new] = True

    refuse(user == "", "user_id is missing", user)
    refuse(item == "", "item_id is missing", item)
    refuse(item_idx < 0, "item is not in the catalog", item)
    if bad_value is not None:
        refuse(bad_value, "event_value must be a finite number", table["event_value"].to_numpy(dtype=object))
        nothing = np.isnan(value) & ~np.isnan(least)
        refuse(nothing, "event_value is missing, and the event's rule needs one", event_type)
    if timestamp is not None:
        refuse(
            np.isnan(timestamp),
            "timestamp must be a time between 1990 and 2100",
            table["timestamp"].astype(object).to_numpy(),
        )
    with_value = np.full(len(table), bad_value is not None)
    says_nothing = ~refused & ((weight == 0) | (with_value & (value < least)))
    types, counts = np.unique(event_type[says_nothing].astype(str), return_counts=True)
    kept = ~refused & ~says_nothing
    users = Vocabulary.of([*user[~refused].tolist(), *more_users])
    interactions = Interactions(
        users=users,
        items=items,
        user_idx=_look_up(user[kept], users),
        item_idx=item_idx[kept],
        event_type=event_type[kept],
        weight=weight[kept].astype(np.float32),
        timestamp=None if timestamp is None else timestamp[kept],
    )
    ignored = tuple(name for name in table.columns if name not in KNOWN)
    left_out = dict(zip(types.tolist(), counts.tolist(), strict=True))
    return ReadInteractions(interactions, len(table), left_out, ignored)


def _look_up(ids: NDArray[np.object_], vocabulary: Vocabulary) -> NDArray[np.int64]:
    codes, different = pd.factorize(ids)
    rows = vocabulary.idxs(different.tolist())
    return rows[codes] if len(rows) else np.zeros(0, dtype=np.int64)


def _rules(event_type: NDArray[np.object_], config: ShopConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight and least value (NaN for none) of each event, by its type's rule: float64 [n] each."""
    codes, types = pd.factorize(event_type)
    rules = [config.rule(name) for name in types.tolist()]
    weight = np.array([rule.weight for rule in rules], dtype=np.float64)
    least = np.array([np.nan if rule.min_value is None else rule.min_value for rule in rules], dtype=np.float64)
    return (weight[codes], least[codes]) if rules else (np.zeros(0), np.zeros(0))
