"""One thing a shopper did, as the service takes it in: what is accepted, what is refused, and by which rule.

What the reader of shops would refuse or change is refused here, where the sender still can mend it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from features.event_rules import EARLIEST_S, RESERVED_RULE, id_read, is_reserved, type_read
from serving.ids import new_id

MAX_ID_CHARS = 256
MAX_TYPE_CHARS = 64
FUTURE_S = 86_400.0
"""A clock may run ahead by so much."""
CLICKS = ("click", "view")
"""Types of events that are clicks where they name the answer the item was shown in."""
VIEWABLE = "viewable"
"""Event type of a suggestion that was on screen: it tells what was shown, not what the shopper likes."""


@dataclass(frozen=True)
class Event:
    """An accepted event; `event_id` is made up here where the sender gave none."""

    event_id: str
    user_id: str
    item_id: str
    event_type: str
    timestamp: float
    recommendation_id: str | None

    @property
    def tells_taste(self) -> bool:
        """Whether the event changes what its user is shown; otherwise it is only logged."""
        return self.event_type != VIEWABLE

    def entry(self) -> bytes:
        """The event in its user's list of recent ones, JSON."""
        return orjson.dumps([self.item_id, self.event_type, self.timestamp, self.event_id])

    def fields(self) -> dict[str, str]:
        """The event as an entry of the event stream."""
        fields = {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "item_id": self.item_id,
            "event_type": self.event_type,
            "timestamp": repr(self.timestamp),
        }
        if self.recommendation_id is not None:
            fields["recommendation_id"] = self.recommendation_id
        return fields


class Past(NamedTuple):
    """One of a user's recent events."""

    item_id: str
    event_type: str
    timestamp: float


@dataclass(frozen=True)
class Refusal:
    """Why an event of a batch was not taken; the others of the batch were."""

    index: int
    rule: str
    value: object


def type_rule(event_type: str) -> str | None:
    """The rule that a type of events breaks where it would not read back as it is; None where it does."""
    if event_type != type_read(event_type):
        return "event_type must be in lower case, with no blanks around it"
    return RESERVED_RULE if is_reserved(event_type) else None


def _text_rule(name: str, text: str) -> str | None:
    longest = MAX_TYPE_CHARS if name == "event_type" else MAX_ID_CHARS
    if not text or len(text) > longest:
        return f"{name} must have 1 to {longest} characters"
    if not text.isprintable():
        return f"{name} must hold printable characters"
    if name == "event_type":
        return type_rule(text)
    return None if text == id_read(text) else f"{name} must have no blanks around it"


def accept(raw: Mapping[str, Any], index: int, *, known_item: bool, now: float | None = None) -> Event | Refusal:
    """Judge one event whose shape (names and JSON types) has been checked.

    Args:
        raw: the event as sent.
        index: its place in the batch, for the refusal.
        known_item: whether its item is in the catalog.
        now: UTC seconds; the clock where None.
    """
    now = time.time() if now is None else now
    for name in ("user_id", "item_id", "event_type", "event_id", "recommendation_id"):
        text = raw.get(name)
        if text is not None and (rule := _text_rule(name, text)) is not None:
            return Refusal(index, rule, text[: MAX_ID_CHARS + 1])
    if not known_item:
        return Refusal(index, "item_id must be in the catalog", raw["item_id"])
    timestamp = raw.get("timestamp")
    if timestamp is not None and not EARLIEST_S <= timestamp <= now + FUTURE_S:
        return Refusal(index, "timestamp must be UTC seconds, not before 1990 and not in the future", timestamp)
    return Event(
        event_id=raw.get("event_id") or new_id(),
        user_id=raw["user_id"],
        item_id=raw["item_id"],
        event_type=raw["event_type"],
        timestamp=now if timestamp is None else float(timestamp),
        recommendation_id=raw.get("recommendation_id"),
    )
