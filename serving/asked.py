"""What may be asked of a ranked list, in a query or in a body: names, bounds, meaning; OpenAPI shows the same."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsys.recommendation import PARTS, Part

MAX_ID_CHARS = 256
DEFAULT_K = 12
MAX_K = 100
MAX_CURSOR_CHARS = 5_400
MAX_FILTER_CHARS = 1_000
MAX_BATCH = 100
MAX_BATCH_SLOTS = 2_000

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_STRICT = ConfigDict(extra="forbid", strict=True)


class NoQuery(BaseModel):
    """No query parameter is known."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ListQuery(NoQuery):
    """What every ranked list takes."""

    k: int = Field(DEFAULT_K, ge=1, le=MAX_K)
    """Suggestions at most."""
    exclude: list[Id] = Field(default=[], max_length=200)
    """Items not to be shown; unknown ones are ignored."""
    filter: str | None = Field(None, min_length=1, max_length=MAX_FILTER_CHARS)
    """Only items for which this holds, such as `price < 50 and brand in ("Acme", "Bolt") and not tag:adult`; a list
    may come out short, or empty, for it."""
    scenario: str = Field("", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
    """Name of the place the list is for, such as "home" or "cart"; rules and experiments go by it, and it is logged."""
    cursor: str | None = Field(None, min_length=1, max_length=MAX_CURSOR_CHARS, pattern=r"^[A-Za-z0-9_=-]+$")
    """`next_cursor` of an earlier answer: go on after it, showing nothing again."""
    split: bool = False
    """Also tell what each score is made of, and what its reasons rest on."""

    @cached_property
    def key(self) -> bytes:
        """The same for queries that ask the same."""
        return self.model_dump_json().encode()

    def question(self) -> dict[str, object]:
        """What must be the same on every page of one list."""
        return {"scenario": self.scenario, "filter": self.filter}


class SimilarQuery(ListQuery):
    """What a list of similar items takes."""

    mode: Literal["fused", "image", "text", "behavior", "complement"] = "fused"
    """How they should be alike: by everything, by picture, by words, by who met them; or what goes with the item."""
    weight_image: Weight | None = None
    """How much likeness of the pictures counts; any of the four weights asks for a mixture of what is weighed."""
    weight_text: Weight | None = None
    """Likewise, of the words."""
    weight_behavior: Weight | None = None
    """Likewise, of who met them."""
    weight_complement: Weight | None = None
    """Likewise, how much going together counts."""
    user_id: Id | None = None
    """Whose taste orders what is alike; one never seen is no error."""
    user_weight: float = Field(0.3, ge=0, le=1)
    """How much that taste counts."""

    @model_validator(mode="after")
    def _one_way(self) -> SimilarQuery:
        given = {part: weight for part in PARTS if (weight := getattr(self, f"weight_{part}")) is not None}
        if given and self.mode != "fused":
            raise ValueError("mode and weights exclude one another: give one of them")
        if given and not any(given.values()):
            raise ValueError("one of the weights must be > 0")
        return self

    def weights(self) -> dict[Part, float] | None:
        """Weight of each part; None for the published likeness."""
        if self.mode != "fused":
            return {self.mode: 1.0}
        given = {part: getattr(self, f"weight_{part}") or 0.0 for part in PARTS}
        return given if any(given.values()) else None

    def question(self) -> dict[str, object]:
        """As `ListQuery.question`."""
        return super().question() | {"weights": self.weights(), "user": self.user_id, "share": self.user_weight}


class FeedQuery(ListQuery):
    """What a feed takes."""

    category: Id | None = None
    """Category of the page it is for."""
    item: Id | None = None
    """Item of the page it is for; it counts as viewed this moment, and is not shown."""
    cart: list[Id] = Field(default=[], max_length=100)
    """Items in the cart, likewise."""

    def question(self) -> dict[str, object]:
        """As `ListQuery.question`."""
        return super().question() | {"category": self.category}


class DebugQuery(NoQuery):
    """What may be asked of an item's debug page."""

    neighbors: int = Field(10, ge=1, le=50)
    """Neighbors of each kind at most."""
    user_id: Id | None = None
    """Ask why the item is not in this user's feed."""
    page: Id | None = None
    """Ask why the item is not among the items like this one."""
    k: int = Field(DEFAULT_K, ge=1, le=MAX_K)
    """Slots of that list."""
    scenario: str = Field("", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
    """Scenario of that list."""
    filter: str | None = Field(None, min_length=1, max_length=MAX_FILTER_CHARS)
    """Filter of that list."""


class RecommendIn(FeedQuery):
    """A list for somebody who need not have an id: from what they did in this session, or from examples."""

    model_config = _STRICT

    session: list[Id] = Field(default=[], max_length=200)
    """Items lately viewed, newest last; they are not shown."""
    like: list[Id] = Field(default=[], max_length=50)
    """Examples of what is wanted; they are not shown."""
    unlike: list[Id] = Field(default=[], max_length=50)
    """Examples of what is not wanted; they are not shown, nor what is like them unless all else speaks for it."""
    user_id: Id | None = None
    """Whose history and taste also count; one never seen is no error."""
    exclude: list[Id] = Field(default=[], max_length=1_000)
    """Items not to be shown; unknown ones are ignored."""


class SimilarIn(SimilarQuery):
    """A list of similar items, in a batch."""

    model_config = _STRICT

    item_id: Id


class FeedIn(FeedQuery):
    """A feed, in a batch."""

    model_config = _STRICT

    user_id: Id


class OneIn(BaseModel):
    """One request of a batch: exactly one of the three."""

    model_config = _STRICT

    similar: SimilarIn | None = None
    feed: FeedIn | None = None
    recommend: RecommendIn | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> OneIn:
        given = [name for name in ("similar", "feed", "recommend") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a request is one of similar, feed and recommend, it is {' and '.join(given) or 'none'}")
        return self

    @property
    def k(self) -> int:
        """Slots asked for."""
        return sum(one.k for one in (self.similar, self.feed, self.recommend) if one is not None)


class BatchIn(BaseModel):
    """Many lists in one call."""

    model_config = _STRICT

    requests: list[OneIn] = Field(min_length=1, max_length=MAX_BATCH)
    """At most 2,000 slots (`k`) in all."""

    @model_validator(mode="after")
    def _not_too_many(self) -> BatchIn:
        slots = sum(one.k for one in self.requests)
        if slots > MAX_BATCH_SLOTS:
            raise ValueError(f"a batch may ask for {MAX_BATCH_SLOTS} slots in all, this one asks for {slots}")
        return self
