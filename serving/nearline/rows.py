"""Stream entries as table rows: a row a slot shown, a row an event."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from features.errors import InputError

Row = dict[str, Any]
Rows = Callable[[str, Mapping[str, bytes]], list[Row]]

ENTRY = "entry_id"
"""Column of the stream entry a row comes from; with the position it names a slot once and for all."""


def impression_rows(entry_id: str, fields: Mapping[str, bytes]) -> list[Row]:
    """The slots of one answer, in the columns that `recsys replay` and a shop's `impressions.parquet` know.

    Fields beside those spelled here are kept as text columns under their own names.

    Raises:
        InputError: a field is missing or cannot be read.
    """
    rest = {name: value.decode() for name, value in fields.items() if name != "slots"}
    request = {
        "request_id": _taken(rest, "recommendation_id"),
        "user_id": rest.pop("user_id", "") or _user(rest),
        "timestamp": _number(_taken(rest, "timestamp"), "timestamp"),
        "policy": _taken(rest, "model_version"),
        "campaign": _taken(rest, "surface"),
        **rest,
    }
    slots = _slots(fields)
    return [
        {
            ENTRY: entry_id,
            **request,
            "position": position,
            "item_id": item,
            "source": source,
            "propensity": propensity,
            "marginal": marginal,
        }
        for position, (item, source, propensity, marginal) in enumerate(slots)
    ]


def event_rows(entry_id: str, fields: Mapping[str, bytes]) -> list[Row]:
    """One event, in the columns of a shop's `interactions.parquet` and of the events that replays join.

    Raises:
        InputError: a field is missing or cannot be read.
    """
    rest = {name: value.decode() for name, value in fields.items()}
    row: Row = {ENTRY: entry_id}
    for name in ("event_id", "user_id", "item_id", "event_type"):
        row[name] = _taken(rest, name)
    row["timestamp"] = _number(_taken(rest, "timestamp"), "timestamp")
    row["recommendation_id"] = rest.pop("recommendation_id", "")
    return [{**row, **rest}]


def _user(rest: Mapping[str, str]) -> str:
    return rest.get("subject", "") if rest.get("surface") in {"feed", "search"} else ""


def _taken(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"field {name!r} is missing")
    return fields.pop(name)


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} must be a number, got {text!r}")
    return number


def _slots(fields: Mapping[str, bytes]) -> list[tuple[str, str, float, float | None]]:
    """Item, source, propensity given the slots above, and the probability in this slot overall (None where unknown)."""
    try:
        slots = orjson.loads(fields["slots"])
        propensities = [float(propensity) for propensity in slots["propensities"]]
        marginals = slots.get("marginals") or propensities  # the same where nothing was drawn
        shown = list(zip(slots["items"], slots["sources"], propensities, marginals, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"field 'slots' must hold items, sources and propensities of one length: {error}") from error
    wrong = next((propensity for propensity in propensities if not 0 < propensity <= 1), None)
    if wrong is not None:
        raise InputError(f"propensity must be in (0, 1], got {wrong}")
    return shown
