"""What the shop says of users, and what is known of them: the shapes that go over the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WrapValidator

from serving.asked import Id
from serving.rows import RefusedOut, or_refused
from serving.schemas import AttributesIn, ItemOut, Shape

MAX_USERS = 500


class PastOut(Shape):
    """One of a user's recent events."""

    item_id: str
    event_type: str
    timestamp: float
    """UTC seconds."""
    item: ItemOut


class UserOut(Shape):
    """What is known of a user right now."""

    user_id: str
    attributes: dict[str, list[str]]
    """What the shop says of the user."""
    events: list[PastOut]
    """Recent events, newest last."""
    store: Literal["redis", "bundle"]


class UserIn(Shape):
    """What the shop says of a user."""

    attributes: AttributesIn
    """Name to values. Each is also a segment that rules may name, such as "tier:gold"."""


class BulkUserIn(UserIn):
    """A user of a bulk import."""

    user_id: Id


class BulkUsersIn(Shape):
    """What the shop says of many users at once."""

    mode: Literal["put", "patch"] = "put"
    """Whether what is said of a user is all there is to say, or a change."""
    users: list[BulkUserIn] = Field(min_length=1, max_length=MAX_USERS)


class BulkUserRows(BulkUsersIn):
    """As `BulkUsersIn`, each user judged by itself; see `serving/rows.py`."""

    users: list[Annotated[BulkUserIn, WrapValidator(or_refused)]] = Field(min_length=1, max_length=MAX_USERS)


class RefusedUserOut(RefusedOut):
    """A user of a bulk import that was not taken; the others were."""

    user_id: str | None
    """Null where none was told."""


class BulkUsersOut(Shape):
    """What became of a bulk import."""

    accepted: int
    refused: list[RefusedUserOut]
