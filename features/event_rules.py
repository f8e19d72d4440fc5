"""How what an event says is read: one set of rules for the reader of shops and for the service that takes events in, so
that what the service has logged reads back as it was sent.
"""

from __future__ import annotations

from datetime import UTC, datetime

RESERVED_TYPES = ("beside:", "fact:")
"""No event type begins with one of these, which name other relations of users and items (`graph/schema.py`)."""
RESERVED_RULE = f"event_type must not begin with {' or '.join(RESERVED_TYPES)}"
EARLIEST_S = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
LATEST_S = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""A time is in [earliest, latest)."""


def id_read(text: str) -> str:
    """An outside id: blanks around it do not belong to it."""
    return text.strip()


def type_read(text: str) -> str:
    """A type of events: neither blanks around it nor its case tell it from another."""
    return text.strip().lower()


def is_reserved(event_type: str) -> bool:
    """Whether a type, however it is spelled, breaks `RESERVED_RULE`."""
    return type_read(event_type).startswith(RESERVED_TYPES)
