"""The shapes of a search as they go over the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serving.schemas import ItemOut, Picture, Shape

SearchSource = Literal["lexical", "words_to_words", "words_to_pictures", "picture_to_pictures", "picture_to_words"]


class ExamplesIn(Shape):
    """Things that results should be like, or unlike."""

    items: list[str] = Field(default=[], max_length=20)
    """Items of the catalog; they are not shown themselves."""
    words: list[Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]] = Field(default=[], max_length=20)
    pictures: list[Picture] = Field(default=[], max_length=5)


class SearchIn(Shape):
    """A search by words, a picture, examples, or all of them."""

    words: str = Field(default="", max_length=500)
    """What was typed; needed where there is neither a picture nor an example to be like."""
    picture: Picture | None = None
    picture_weight: float = Field(default=0.5, ge=0, le=1)
    """How much a picture counts beside words."""
    like: ExamplesIn = ExamplesIn()
    unlike: ExamplesIn = ExamplesIn()
    filters: dict[str, Annotated[list[str], Field(min_length=1, max_length=100)]] = Field(default={}, max_length=20)
    """Attribute to values: an item must have one of the values of each attribute, whatever their case."""
    min_price: float | None = Field(default=None, allow_inf_nan=False)
    """Items without a price are left out where a bound is given."""
    max_price: float | None = Field(default=None, allow_inf_nan=False)
    available_only: bool = True
    """Leave out what cannot be bought."""
    k: int = Field(default=12, ge=1, le=100)
    """Results at most."""
    offset: int = Field(default=0, ge=0, le=900)
    """Results to skip."""
    user_id: str | None = Field(default=None, min_length=1, max_length=256)
    """Whose taste orders what was found; one never seen is no error."""
    user_weight: float = Field(default=0.2, ge=0, le=1)
    """How much that taste counts."""


class ResultOut(Shape):
    """One item found."""

    item: ItemOut
    score: float
    """Comparable within one answer only."""
    source: SearchSource
    """What speaks most for it: the letters of the words, their meaning, or the picture, and what of the item."""
    reasons: list[str]
    """Short true statements, best first."""
    parts: dict[SearchSource | Literal["against", "personal"], float]
    """What each part gives to the score, which is their sum: a way of looking, likeness to what is unwanted ("against";
    where a way of looking already keeps away from that, it is in there), and the user's taste ("personal")."""
    propensity: float
    """Probability with which it was shown in this place."""


class SearchOut(Shape):
    """A page of results."""

    results: list[ResultOut]
    total: int | None
    """How many items match; null where items are more or less near, so that none can be counted."""
    next_offset: int | None
    """Where the next page begins; null at the end."""
    channels: list[SearchSource]
    """By what items were looked for."""
    warnings: list[str] = Field(default=[])
    """What keeps the answer from being as good as it looks, such as words in a writing that the encoder cannot read."""
    recommendation_id: str
    """Name it in events that follow from this answer."""
    model_version: str
    rules_version: int
    """Version of the rules whose filters were applied; 0 where none is stored."""
    source: SearchSource | None
    """Of the first result; null where nothing was found."""
    store: Literal["redis", "bundle"]
    """Whether Redis held the items, or the worker alone answered from its bundle."""
