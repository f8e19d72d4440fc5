"""The shapes that go over the wire, for the OpenAPI description and for checking what comes in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys.recommendation import Source

Picture = Annotated[
    str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"})
]
"""A picture file's bytes in base64."""
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
Value = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]
AttributesIn = Annotated[dict[Name, Annotated[list[Value], Field(max_length=100)]], Field(max_length=100)]
"""What is said of an item or a user, name to values."""


class Shape(BaseModel):
    """Base of every shape: an unknown name is an error, types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class ItemOut(Shape):
    """An item as shown."""

    item_id: str
    title: str
    description: str
    price: float | None
    """In the shop's currency; null where unknown."""
    available: bool
    image_url: str | None
    """Where its picture is; null where it has none."""
    attributes: dict[str, list[str]]
    match_score: float | None
    """How well picture and text agree, 0 to 1; null where one is missing, or nothing here can tell."""


class ItemsOut(Shape):
    """A part of the browse grid, most popular first."""

    items: list[ItemOut]
    total: int
    next_offset: int | None
    """Where the next part begins; null at the end."""


class GroundsOut(Shape):
    """What the reasons of a suggestion rest on: another item, and what is known of the two."""

    item_id: str
    """The item that led to it: of the page, in the cart, viewed, an example, or met before."""
    together: int
    """Users who met both."""
    image: float | None
    """Cosine of their pictures; null where one has none."""
    text: float | None
    """Cosine of their words, likewise."""


class SlotOut(Shape):
    """One suggestion."""

    item: ItemOut
    score: float
    """Comparable within one answer and one source only."""
    source: Source
    """What found it: a tier of the fallback ladder, or the way of being alike that was asked for."""
    reasons: list[str]
    """Short true statements, best first."""
    propensity: float
    """Probability with which it was shown in this slot, given the slots above; 1 where nothing is left to chance."""
    split: dict[str, float | None] | None = None
    """What the score is made of, where asked for: four ways of being alike for similar items, taste and prior for a
    feed; null where the item or the user lacks it."""
    grounds: GroundsOut | None = None
    """What the reasons rest on, where the split was asked for; null where no other item led to it."""


class AnswerOut(Shape):
    """A ranked list."""

    recommendations: list[SlotOut]
    next_cursor: str | None
    """Pass it as `cursor` to go on; null at the end."""
    recommendation_id: str
    """Name it in events that follow from this answer."""
    model_version: str
    arms: dict[str, str]
    """The arm of each experiment that the user takes part in; "holdout" alone for a user who takes part in none."""
    rules_version: int
    """Version of the rules that were applied; 0 where none is stored."""
    source: Source | None
    """Tier of the first slot; null where the catalog has nothing else to show."""
    store: Literal["redis", "bundle"]
    """Whether Redis answered, or the worker alone from its bundle."""


class FailedOut(Shape):
    """A request of a batch that has no answer."""

    problem: dict[str, Any]
    """Problem details, RFC 9457."""


class BatchOut(Shape):
    """What became of each request, in their order."""

    answers: list[AnswerOut | FailedOut]


class NeighborOut(Shape):
    """One item near to another."""

    item_id: str
    title: str
    score: float
    """A cosine; for "together", the number of users who met both."""


class NodeOut(Shape):
    """One attribute value that an item is tied to in the graph."""

    name: str
    value: str
    items: int
    """How many items share it."""


class GraphOut(Shape):
    """An item's neighborhood in the graph."""

    trained: bool
    """Whether training knows the item; otherwise it was placed by its content."""
    users: int
    """How many users met it."""
    values: list[NodeOut]
    """Attribute values, rarest first."""


class StandingOut(Shape):
    """Where an item stands in one answer, and what keeps it out."""

    surface: Literal["feed", "similar"]
    slot: int | None
    """Its place in the answer, from 1; null where it is not in it."""
    hidden_by: list[str]
    """What keeps it from being found, such as "unavailable", "seen" or "not allowed"."""
    rules: list[str]
    """The shop's rules that hide it, boost or bury it, or pin it."""
    places: dict[str, int | None]
    """Its place after each step, from 1; null where the step does not have it."""
    dropped_by: str | None
    """The stage that left it out."""
    measure: Literal["taste", "likeness", "popularity"]
    """What it is compared by."""
    score: float | None
    cut: float | None
    """The lowest score that has a slot."""
    below_by: float | None
    """How far it is below that; negative where it is above and something else keeps it out."""
    rank: int | None
    """Its place among all items that may be shown, by that measure."""


class DebugOut(Shape):
    """What is near an item, and why it is or is not in an answer."""

    item: ItemOut
    neighbors: dict[str, list[NeighborOut]]
    """By "published" (the list of similar items), "image", "text", "behavior" and "together"."""
    graph: GraphOut
    why: StandingOut | None
    """Where it stands in the answer that was asked about; null where none was."""
    model_version: str


class EventIn(Shape):
    """Something a shopper did."""

    event_id: str | None = None
    """The sender's own id, unique per user: an event sent twice within a day counts once."""
    user_id: str
    """1 to 256 printable characters, no blanks around them; likewise the other ids."""
    item_id: str
    """An item of the catalog."""
    event_type: str
    """Such as "view", "click", "cart", "purchase"; "viewable", a suggestion on screen, changes no feed. 1 to 64
    printable characters in lower case, no blanks around them, not beginning with "beside:" or "fact:"."""
    timestamp: float | None = None
    """UTC seconds, from 1990 on; the time of arrival where absent."""
    recommendation_id: str | None = None
    """The answer in which the item was shown."""


class EventsIn(Shape):
    """A batch of events."""

    events: list[EventIn] = Field(min_length=1, max_length=500)


class RefusalOut(Shape):
    """An event of the batch that was not taken; the others were."""

    index: int
    rule: str
    value: str | float | None


class EventsOut(Shape):
    """What became of a batch."""

    accepted: int
    duplicates: int
    refused: list[RefusalOut]


class HealthOut(Shape):
    """The process answers."""

    status: Literal["alive"]


class ReadyOut(Shape):
    """Whether requests can be answered, and from where."""

    ready: bool
    version: str | None
    redis: Literal["up", "down", "none"]
    pending_events: int
    """Events held until Redis is back."""
    policies: Literal["redis", "remembered", "files"]
    """Where rules and experiments are from: as Redis has them; as it had them, which is away or has lost them; or the
    settings' files, as none was ever put."""


class ProblemOut(BaseModel):
    """Problem details, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
