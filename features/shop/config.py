"""What a shop says about itself in `shop.toml`, and the defaults where it says nothing."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from features.errors import InputError
from features.event_rules import RESERVED_RULE, is_reserved, type_read
from features.section import Section

TableName = Literal["items", "interactions", "users", "impressions", "reviews"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "items": ("item_id", "title", "description", "image", "images", "price", "available"),
    "interactions": ("user_id", "item_id", "event_type", "event_value", "timestamp"),
    "users": ("user_id",),
    "impressions": (
        "request_id",
        "user_id",
        "item_id",
        "position",
        "propensity",
        "policy",
        "clicked",
        "timestamp",
    ),
    "reviews": ("item_id", "text", "rating", "timestamp", "user_id"),
}
"""The columns that mean something; every other column of items and users is an attribute."""


class EventRule(Section):
    """How much an event of one type says about taste."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Weight of an event; 0 leaves the type out."""

    min_value: float | None = None
    """Events whose event_value is below this are left out; None takes all of them, with or without a value."""

    @field_validator("min_value")
    @classmethod
    def _is_a_number(cls, value: float | None) -> float | None:
        if value is not None and math.isnan(value):
            raise ValueError("min_value must be a number")
        return None if value == -math.inf else value


DEFAULT_EVENTS = {
    "view": EventRule(weight=1),
    "click": EventRule(weight=1),
    "like": EventRule(weight=3),
    "cart": EventRule(weight=3),
    "purchase": EventRule(weight=5),
    "review": EventRule(weight=3),
    "rating": EventRule(weight=3, min_value=4),  # on a scale to 5: a rating of 1 is no liking
}
"""The rules of well-known event types; any other type has the rule `EventRule()`, weight 1."""


class AttributesConfig(Section):
    """How the columns beside the known ones become attributes."""

    paths: tuple[str, ...] = ("category",)
    """Columns that hold a path from the general to the special: an ordered list, or a text with " > " between."""

    separators: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Text columns that hold several values, and what stands between them, such as {genre = "|"}."""

    leave_out: tuple[str, ...] = ()
    """Columns that are no attributes."""


class ShopConfig(Section):
    """The content of `shop.toml`; every field may be left out."""

    name: Annotated[str, Field(min_length=1)] | None = None
    """What the shop is called; the folder's name where absent."""

    timezone: str = "UTC"
    """Time zone of times that name none, such as "Europe/Berlin"."""

    default_event_type: Annotated[str, Field(min_length=1)] = "interaction"
    """Type of the events where the table has no event_type column; "rating" makes event_value count. Like types in a
    table it must not begin with `RESERVED_TYPES`."""

    columns: dict[TableName, dict[str, str]] = Field(default_factory=dict)
    """By table, our name of a column and the shop's: [columns.items] item_id = "sku"."""

    events: dict[str, EventRule] = Field(default_factory=dict)
    """Rules that differ from `DEFAULT_EVENTS`: a weight, or a table with weight and min_value. What is not given keeps
    its default; min_value = -inf takes all values."""

    attributes: AttributesConfig = AttributesConfig()
    """How other columns are read."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("events"), dict):
            return given
        events: dict[str, Any] = {}
        for kind, rule in given["events"].items():
            fields = {"weight": rule} if isinstance(rule, int | float) and not isinstance(rule, bool) else rule
            if isinstance(fields, dict):
                fields = {**DEFAULT_EVENTS.get(type_read(kind), EventRule()).model_dump(), **fields}
            events[type_read(kind)] = fields
        return {**given, "events": events}

    @field_validator("default_event_type")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if is_reserved(name):
            raise ValueError(RESERVED_RULE)
        return name

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError('a time zone looks like "Europe/Berlin" or "UTC"') from None
        return name

    @field_validator("columns")
    @classmethod
    def _are_ours(cls, columns: dict[TableName, dict[str, str]]) -> dict[TableName, dict[str, str]]:
        for table in ("interactions", "impressions", "reviews"):
            for ours in columns.get(table, {}):
                if ours not in COLUMNS[table]:
                    raise ValueError(f"{table} have the columns {', '.join(COLUMNS[table])}; {ours!r} is none of them")
        for table, mapping in columns.items():
            if len(set(mapping.values())) < len(mapping):
                raise ValueError(f"a column of {table} may be mapped once only")
        return columns

    def rule(self, event_type: str) -> EventRule:
        """The rule of an event type (lower case)."""
        return self.events.get(event_type) or DEFAULT_EVENTS.get(event_type) or EventRule()


def read_shop_config(folder: Path) -> ShopConfig:
    """Read a folder's `shop.toml`; the defaults where there is none.

    Raises:
        InputError: the file cannot be read, or says something it cannot say.
    """
    path = folder / "shop.toml"
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return ShopConfig()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}") from error
    try:
        return ShopConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}, {field}: {first['msg']}, got {first['input']!r}") from error


assert set(get_args(TableName)) == set(COLUMNS)  # noqa: S101 - two spellings of one list
