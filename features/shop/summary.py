"""A shop in numbers: what is there, how much of it, and what was refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Attributes
from features.interactions import Interactions
from features.pictures.check import PictureReport
from features.quarantine import Quarantine
from features.shop.shop import Shop


def summarize(
    shop: Shop, quarantine: Quarantine, *, pictures: PictureReport | None = None, now_s: float | None = None
) -> dict[str, Any]:
    """Count a shop.

    Args:
        shop: the shop.
        quarantine: what was refused while it was read.
        pictures: what opening the pictures brought to light; without it pictures count as named, not as readable, and
            nothing is said about duplicate ones.
        now_s: the time, UTC seconds; without it nothing is said about events that have not been yet.

    Returns:
        values that JSON can hold, None where there is nothing to tell:
        `name`, `path`, `fingerprint`; `items`, `users`, `interactions`; `events` (type -> count) and `left_out` (type
        -> count, by the rules of the shop); `date_range` (`first`, `last`, ISO in UTC); `modalities` (name -> `items`,
        `share`); `remote_images`; `attributes` and `user_attributes` (name -> `values`, the number of different ones;
        `items` or `users` that have one; `note` where a column was changed or left out); `cold_items`, `active_users`;
        `duplicates` (`titles`, `pictures`, `events`: how many equal an earlier one); `ignored_columns`; `quarantine`
        (`total`, `rules`); `remarks`.
    """
    catalog, events = shop.catalog, shop.interactions
    n_items, n_users = len(catalog), len(events.users)
    notes = shop.reading.attribute_columns
    return {
        "name": shop.name,
        "path": str(shop.path),
        "fingerprint": shop.fingerprint,
        "items": n_items,
        "users": n_users,
        "interactions": len(events),
        "events": _counts(events.event_type),
        "left_out": dict(shop.reading.left_out),
        "date_range": _date_range(events),
        "modalities": _modalities(shop, pictures),
        "remote_images": sum(map(len, shop.reading.remote_images.values())),
        "attributes": _attributes(catalog.attributes, "items", notes.get("items", {})),
        "user_attributes": _attributes(shop.users_attributes, "users", notes.get("users", {})),
        "cold_items": n_items - len(np.unique(events.item_idx)),
        "active_users": len(np.unique(events.user_idx)),
        "duplicates": {
            "titles": _repeats(pd.Series(catalog.title[catalog.title != ""], dtype="object")),
            "pictures": None if pictures is None else pictures.duplicates,
            "events": _repeated_events(events),
        },
        "ignored_columns": {table: list(names) for table, names in shop.reading.ignored_columns.items()},
        "quarantine": {"total": quarantine.total, "rules": quarantine.counts},
        "remarks": [*shop.reading.remarks, *_not_yet(events, now_s)],
    }


def _counts(values: NDArray[np.object_]) -> dict[str, int]:
    """Value -> count, the most frequent first."""
    counted = pd.Series(values, dtype="object").value_counts()
    return {str(name): int(count) for name, count in counted.items()}


def _date_range(events: Interactions) -> dict[str, str] | None:
    if events.timestamp is None or not len(events):
        return None
    first, last = float(events.timestamp.min()), float(events.timestamp.max())
    return {
        name: datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
        for name, time in (("first", first), ("last", last))
    }


def _not_yet(events: Interactions, now_s: float | None) -> list[str]:
    """Events of the future are kept, as only the shop knows which clock is wrong; a split by time goes by them."""
    if now_s is None or events.timestamp is None:
        return []
    late = events.timestamp[events.timestamp > now_s]
    if not len(late):
        return []
    last = datetime.fromtimestamp(float(late.max()), UTC).isoformat(timespec="seconds")
    return [f"{len(late):,} of {len(events):,} events are of the future, up to {last}: is the time zone right?"]


def _modalities(shop: Shop, pictures: PictureReport | None) -> dict[str, dict[str, float | int]]:
    catalog = shop.catalog
    has_text = (catalog.title != "") | (catalog.description != "")
    has_image = catalog.image != ""
    if pictures is not None:
        has_image[list(pictures.unreadable)] = False
    masks = {
        "title": catalog.title != "",
        "description": catalog.description != "",
        "image": has_image,
        "text and image": has_text & has_image,
        "neither text nor image": ~has_text & ~has_image,
        "price": np.isfinite(catalog.price),
        "available": catalog.available,
    }
    return {
        name: {"items": int(mask.sum()), "share": round(float(mask.sum()) / len(catalog), 4)}
        for name, mask in masks.items()
    }


def _attributes(attributes: Attributes, owners: str, notes: dict[str, str]) -> dict[str, dict[str, Any]]:
    table = pd.DataFrame({"row": attributes.row_idx, "name": attributes.name, "value": attributes.value})
    found = table.groupby("name", sort=True).agg(values=("value", "nunique"), owners=("row", "nunique"))
    names = sorted({*found.index.tolist(), *notes})
    return {
        name: {
            "values": int(found["values"].get(name, 0)),
            owners: int(found["owners"].get(name, 0)),
            "note": notes.get(name),
        }
        for name in names
    }


def _repeats(values: pd.Series) -> int:
    return int(values.duplicated().sum())


def _repeated_events(events: Interactions) -> int:
    """Events equal to an earlier one in user, item, type and, where there is one, time."""
    columns: dict[str, Any] = {
        "user": events.user_idx,
        "item": events.item_idx,
        "type": pd.Categorical(events.event_type),
    }
    if events.timestamp is not None:
        columns["time"] = events.timestamp
    return int(pd.DataFrame(columns).duplicated().sum())
