"""Every request that the clients send, each once: what is sent, and how the answer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from serving.asked import BatchIn, DebugQuery, FeedQuery, OneIn, RecommendIn, SimilarQuery
from serving.items.shapes import BulkIn, BulkItemIn, BulkOut, ItemIn, ItemPatch, WrittenOut
from serving.policy_schemas import ChangedOut, ExperimentsOut, ResultsOut, RollbackIn, RulesOut, TrialIn, TrialOut
from serving.schemas import (
    AnswerOut,
    BatchOut,
    DebugOut,
    EventIn,
    EventsIn,
    EventsOut,
    ItemOut,
    ItemsOut,
    ReadyOut,
)
from serving.search_schemas import SearchIn, SearchOut
from serving.user_schemas import BulkUserIn, BulkUsersIn, BulkUsersOut, UserIn, UserOut

T = TypeVar("T", bound=BaseModel)
Mode = Literal["put", "patch"]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Args:
        kind: the shape of the answer.
        method: HTTP method.
        path: with every id percent-encoded.
        query: parameters; a list stands for several of one name.
        body: JSON, None for none.
        headers: beside those of every request.
        repeatable: whether sending it twice does the same as sending it once.
        also: statuses beside 2xx whose body has the shape of the answer.
    """

    kind: type[T]
    method: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
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


def debug(item_id: str, query: DebugQuery | None = None) -> Call[DebugOut]:
    """What is near an item, and why it is or is not in an answer."""
    return Call(DebugOut, "GET", f"/v1/items/{_path(item_id)}/debug", _query(query))


def put_item(item_id: str, item: ItemIn) -> Call[WrittenOut]:
    """Say all there is to say of an item, known or new."""
    return Call(WrittenOut, "PUT", f"/v1/items/{_path(item_id)}", body=_said(item))


def patch_item(item_id: str, change: ItemPatch) -> Call[WrittenOut]:
    """Change some of an item; a field that is set to None is taken away, one that is not set stays."""
    return Call(WrittenOut, "PATCH", f"/v1/items/{_path(item_id)}", body=_said(change))


def delete_item(item_id: str) -> Call[Nothing]:
    """Remove an item."""
    return Call(Nothing, "DELETE", f"/v1/items/{_path(item_id)}", repeatable=False)


def import_items(items: Sequence[BulkItemIn], *, mode: Mode = "put") -> Call[BulkOut]:
    """Put or patch up to 500 items; those that cannot be taken are named."""
    return Call(BulkOut, "POST", "/v1/items", body=_said(BulkIn(mode=mode, items=list(items))))


def record(events: Sequence[EventIn]) -> Call[EventsOut]:
    """Tell what shoppers did; give events ids, so that they count once though they be sent again."""
    batched = EventsIn(events=list(events))
    safe = all(event.event_id is not None for event in events)
    return Call(EventsOut, "POST", "/v1/events", body=_body(batched), repeatable=safe)


def user(user_id: str) -> Call[UserOut]:
    """What is known of a user right now."""
    return Call(UserOut, "GET", f"/v1/users/{_path(user_id)}")


def put_user(user_id: str, attributes: Mapping[str, Sequence[str]]) -> Call[UserOut]:
    """Say all there is to say of a user."""
    return Call(UserOut, "PUT", f"/v1/users/{_path(user_id)}", body=_said(_of_user(attributes)))


def patch_user(user_id: str, attributes: Mapping[str, Sequence[str]]) -> Call[UserOut]:
    """Change some of what is said of a user; an attribute without values is taken away."""
    return Call(UserOut, "PATCH", f"/v1/users/{_path(user_id)}", body=_said(_of_user(attributes)))


def import_users(users: Sequence[BulkUserIn], *, mode: Mode = "put") -> Call[BulkUsersOut]:
    """Put or patch up to 500 users."""
    return Call(BulkUsersOut, "POST", "/v1/users", body=_said(BulkUsersIn(mode=mode, users=list(users))))


def forget(user_id: str) -> Call[Nothing]:
    """Delete a user's live state."""
    return Call(Nothing, "DELETE", f"/v1/users/{_path(user_id)}")


def rules(version: int | None = None) -> Call[RulesOut]:
    """The rule set that holds, or another version, with the history."""
    return Call(RulesOut, "GET", "/v1/rules", _version(version))


def put_rules(rules: Mapping[str, Any], *, note: str = "", expected: int | None = None) -> Call[ChangedOut]:
    """Replace the rule set, as `recsys/rules/model.py` describes it; refused (409) where `expected` holds no more."""
    return _put_document("/v1/rules", rules, note, expected)


def dry_run(trial: TrialIn) -> Call[TrialOut]:
    """What each rule would remove or move in one answer."""
    return Call(TrialOut, "POST", "/v1/rules/dry-run", body=_said(trial))


def roll_rules_back(to: int | None = None) -> Call[ChangedOut]:
    """To the rules that were active before, or to the version named."""
    return Call(ChangedOut, "POST", "/v1/rules/rollback", body=_said(RollbackIn(to=to)), repeatable=False)


def experiments(version: int | None = None) -> Call[ExperimentsOut]:
    """The experiments, or another version of them, with the history."""
    return Call(ExperimentsOut, "GET", "/v1/experiments", _version(version))


def put_experiments(experiments: Mapping[str, Any], *, note: str = "", expected: int | None = None) -> Call[ChangedOut]:
    """Replace the experiments; refused (409) where `expected` holds no more."""
    return _put_document("/v1/experiments", experiments, note, expected)


def roll_experiments_back(to: int | None = None) -> Call[ChangedOut]:
    """To the experiments that were active before, or to the version named."""
    return Call(ChangedOut, "POST", "/v1/experiments/rollback", body=_said(RollbackIn(to=to)), repeatable=False)


def results() -> Call[ResultsOut]:
    """What each arm showed and what came of it."""
    return Call(ResultsOut, "GET", "/v1/experiments/results")


def ready() -> Call[ReadyOut]:
    """Whether requests can be answered, and from where."""
    return Call(ReadyOut, "GET", "/ready", repeatable=False, also=(503,))


def _put_document(path: str, document: Mapping[str, Any], note: str, expected: int | None) -> Call[ChangedOut]:
    """Sent twice it would be two versions, so it is not repeated."""
    query = {"note": note} if note else {}
    headers = {} if expected is None else {"if-match": f'"{expected}"'}
    return Call(ChangedOut, "PUT", path, query, dict(document), headers, repeatable=False)


def _version(version: int | None) -> dict[str, Any]:
    return {} if version is None else {"version": version}


def _of_user(attributes: Mapping[str, Sequence[str]]) -> UserIn:
    return UserIn(attributes={name: list(values) for name, values in attributes.items()})


def _path(outside_id: str) -> str:
    if not outside_id:
        raise ValueError("an id must have at least one character")
    return quote(outside_id, safe="")


def _query(query: BaseModel | None) -> dict[str, Any]:
    return {} if query is None else query.model_dump(mode="json", exclude_defaults=True)


def _body(asked: BaseModel) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_defaults=True)


def _said(said: BaseModel) -> dict[str, Any]:
    """With what was set to its default, too: to say that a price is unknown is not to say nothing of it."""
    return said.model_dump(mode="json", exclude_unset=True)
