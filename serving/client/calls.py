"""Every request that the clients send, each once: what is sent, and how the answer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from serving.asked import BatchIn, FeedQuery, OneIn, RecommendIn, SimilarQuery
from serving.schemas import (
    AnswerOut,
    BatchOut,
    EventIn,
    EventsIn,
    EventsOut,
    ItemOut,
    ItemsOut,
    ReadyOut,
)
from serving.search_schemas import SearchIn, SearchOut
from serving.user_schemas import UserOut

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Args:
        kind: the shape of the answer.
        method: HTTP method.
        path: with every id percent-encoded.
        query: parameters; a list stands for several of one name.
        body: JSON, None for none.
        repeatable: whether sending it twice does the same as sending it once.
        also: statuses beside 2xx whose body has the shape of the answer.
    """

    kind: type[T]
    method: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    repeatable: bool = True
    also: tuple[int, ...] = ()

    def read(self, content: bytes) -> T:
        """The answer; members that a newer service added are ignored."""
        return self.kind.model_validate_json(content or b"{}", extra="ignore")


class Nothing(BaseModel):
    """An answer without content."""


def similar(item_id: str, query: SimilarQuery | None = None) -> Call[AnswerOut]:
    """Items like this one, best first."""
    return Call(AnswerOut, "GET", f"/v1/items/{_path(item_id)}/similar", _query(query))


def feed(user_id: str, query: FeedQuery | None = None) -> Call[AnswerOut]:
    """Items for this user, best first; one never seen is no error."""
    return Call(AnswerOut, "GET", f"/v1/users/{_path(user_id)}/feed", _query(query))


def recommend(asked: RecommendIn) -> Call[AnswerOut]:
    """Items for a session or by examples."""
    return Call(AnswerOut, "POST", "/v1/recommend", body=_body(asked))


def batch(requests: Sequence[OneIn]) -> Call[BatchOut]:
    """Many lists in one call; each has its own answer or problem."""
    return Call(BatchOut, "POST", "/v1/batch", body=_body(BatchIn(requests=list(requests))))


def search(asked: SearchIn) -> Call[SearchOut]:
    """Items by words, a picture (base64), examples, within filters."""
    return Call(SearchOut, "POST", "/v1/search", body=_body(asked))


def item(item_id: str) -> Call[ItemOut]:
    """One item."""
    return Call(ItemOut, "GET", f"/v1/items/{_path(item_id)}")


def items(*, k: int = 24, offset: int = 0, category: str | None = None, q: str | None = None) -> Call[ItemsOut]:
    """The catalog, most popular first."""
    asked = {"k": k, "offset": offset, "category": category, "q": q}
    return Call(ItemsOut, "GET", "/v1/items", {name: value for name, value in asked.items() if value is not None})


def record(events: Sequence[EventIn]) -> Call[EventsOut]:
    """Tell what shoppers did; give events ids, so that they count once though they be sent again."""
    batched = EventsIn(events=list(events))
    safe = all(event.event_id is not None for event in events)
    return Call(EventsOut, "POST", "/v1/events", body=_body(batched), repeatable=safe)


def user(user_id: str) -> Call[UserOut]:
    """What is known of a user right now."""
    return Call(UserOut, "GET", f"/v1/users/{_path(user_id)}")


def forget(user_id: str) -> Call[Nothing]:
    """Delete a user's live state."""
    return Call(Nothing, "DELETE", f"/v1/users/{_path(user_id)}")


def ready() -> Call[ReadyOut]:
    """Whether requests can be answered, and from where."""
    return Call(ReadyOut, "GET", "/ready", repeatable=False, also=(503,))


def _path(outside_id: str) -> str:
    if not outside_id:
        raise ValueError("an id must have at least one character")
    return quote(outside_id, safe="")


def _query(query: BaseModel | None) -> dict[str, Any]:
    return {} if query is None else query.model_dump(mode="json", exclude_defaults=True)


def _body(asked: BaseModel) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_defaults=True)
