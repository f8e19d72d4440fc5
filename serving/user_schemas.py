"""What the shop says of users, and what is known of them: the shapes that go over the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WrapValidator

from serving.asked import Id
from serving.rows import or_refused
from serving.schemas import ItemOut, Shape

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

    attributes: dict[
        Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")],
        Annotated[list[Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]], Field(max_length=100)],
    ] = Field(max_length=100)
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


class RefusedUserOut(Shape):
    """A user of a bulk import that was not taken; the others were."""

    index: int
    user_id: str | None
    """Null where none was told."""
    rule: str
    """The first one that it breaks."""
    place: str
    value: str
    """What is there instead; its first 80 characters."""


class BulkUsersOut(Shape):
    """What became of a bulk import."""

    accepted: int
    refused: list[RefusedUserOut]
