"""What may be said of an item: the shapes that go over the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, field_validator, model_validator

from features.paths import beginnings
from serving.asked import MAX_ID_CHARS
from serving.rows import RefusedOut, or_refused
from serving.schemas import AttributesIn, ItemOut, Picture, Shape

MAX_BULK = 500


class ItemIn(Shape):
    """An item as a whole; what is left out it does not have."""

    title: str = Field(default="", max_length=1_000)
    description: str = Field(default="", max_length=20_000)
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In the shop's currency; null where unknown."""
    available: bool = True
    """Whether it can be bought; what cannot is not shown, but still says something of those who viewed it."""
    image: str | None = Field(default=None, min_length=1, max_length=2_000)
    """Address of a picture, which is shown but not looked at; or name of a file among the shop's pictures."""
    picture: Picture | None = None
    """The picture itself; it is kept, shown, and looked at."""
    attributes: AttributesIn = Field(default={})
    """Name to values; a path such as "Kitchen > Mugs" also counts as each of its beginnings."""

    @field_validator("attributes")
    @classmethod
    def _with_beginnings(cls, given: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            name: list(dict.fromkeys(step for value in values for step in beginnings(value)))
            for name, values in given.items()
            if values
        }

    @model_validator(mode="after")
    def _one_picture(self) -> ItemIn:
        if self.image is not None and self.picture is not None:
            raise ValueError("image and picture exclude one another: give one of them")
        return self

    def said(self) -> dict[str, Any]:
        """The fields that were given, but for the picture."""
        return self.model_dump(exclude={"picture", "item_id"}, exclude_unset=True)


class ItemPatch(ItemIn):
    """What changes of an item; what is left out stays as it is."""


class BulkItemIn(ItemIn):
    """An item of a bulk import."""

    item_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)


class BulkIn(Shape):
    """Many items at once."""

    mode: Literal["put", "patch"] = "put"
    """Whether each replaces its item, or changes it."""
    items: list[BulkItemIn] = Field(min_length=1, max_length=MAX_BULK)


class BulkRows(BulkIn):
    """As `BulkIn`, each item judged by itself; see `serving/rows.py`."""

    items: list[Annotated[BulkItemIn, WrapValidator(or_refused)]] = Field(min_length=1, max_length=MAX_BULK)


class RefusedItemOut(RefusedOut):
    """An item of a bulk import that was not taken; the others were."""

    item_id: str | None
    """Null where none was told."""


class BulkOut(Shape):
    """What became of a bulk import."""

    accepted: int
    refused: list[RefusedItemOut]


class WrittenOut(Shape):
    """An item as it is shown from now on."""

    item: ItemOut
    is_new: bool
    """Whether training does not know it: it was placed by its words, picture and attributes."""
