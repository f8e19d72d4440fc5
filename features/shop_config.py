"""What `shop.toml` may say: the shop's name, its own column names, what its events mean, its time zone."""

from __future__ import annotations

import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, NonNegativeFloat, ValidationError, field_validator

from features.errors import InputError
from features.section import Section

FILE = "shop.toml"


class EventRule(Section):
    """What one type of event says about taste."""

    weight: NonNegativeFloat = 1.0
    """Weight of such an event; 0 leaves the type out."""
    min_value: float | None = None
    """Events with a lower `event_value` (a rating of 2, say) are left out; unset: all count."""


DEFAULT_EVENTS = {
    "view": EventRule(weight=1),
    "click": EventRule(weight=1),
    "like": EventRule(weight=3),
    "cart": EventRule(weight=3),
    "purchase": EventRule(weight=5),
    "review": EventRule(weight=3),
    "rating": EventRule(weight=3, min_value=4),
}
"""Rules of well-known event types; `shop.toml` overrides them, and any other type has weight 1. A rating below 4 is no
liking."""


class Columns(Section):
    """The shop's own column names: ours → theirs, a table."""

    items: dict[str, str] = Field(default_factory=dict)
    """Such as {item_id = "sku", title = "product_name"}."""
    interactions: dict[str, str] = Field(default_factory=dict)
    """Such as {user_id = "customer", timestamp = "ts"}."""
    users: dict[str, str] = Field(default_factory=dict)
    """Such as {user_id = "customer"}."""
    impressions: dict[str, str] = Field(default_factory=dict)
    """Such as {propensity = "propensity_score", clicked = "click"}."""


class ShopConfig(Section):
    """The content of `shop.toml`; every field may be left out."""

    name: str = ""
    """What the shop is called; unset: its folder's name."""
    timezone: str = "UTC"
    """Time zone of timestamps that do not name one, such as "Europe/Paris"."""
    columns: Columns = Columns()
    """The shop's own column names."""
    events: dict[str, EventRule] = Field(default_factory=dict)
    """What each type of event means; see `DEFAULT_EVENTS`."""
    paths: tuple[str, ...] = ("category",)
    """Item columns whose list is a path from the general to the special, not a set of values."""
    ignore: tuple[str, ...] = ()
    """Item and user columns that are no attributes."""

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("is no time zone of the IANA database") from error
        return timezone

    def rule(self, event_type: str) -> EventRule:
        """What an event of this type means."""
        return self.events.get(event_type) or DEFAULT_EVENTS.get(event_type) or EventRule()


def read_shop_config(shop: Path) -> ShopConfig:
    """Read `shop.toml` of a shop folder; the defaults where there is none.

    Raises:
        InputError: it is no TOML, or a field is unknown or unusable; the message names it.
    """
    path = shop / FILE
    if not path.is_file():
        return ShopConfig()
    try:
        return ShopConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: field {field!r}: {first['msg']}, got {first['input']!r}") from error
