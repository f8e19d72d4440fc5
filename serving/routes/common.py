"""What the routes share: the engine of the application, ids in paths, and the reading of query parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar, cast, get_origin

from pydantic import BaseModel, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import QueryParams, State
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.asked import MAX_ID_CHARS
from serving.engine import Engine
from serving.lists import ListEngine
from serving.problems import MEDIA_TYPE, ProblemError, broken_rules
from serving.schemas import ProblemOut

SHOWN_ERRORS = 20
USUAL_CHARS = 32
"""Longest query string whose reading is remembered."""
Asked = TypeVar("Asked", bound=BaseModel)


class _Id(Convertor[str]):
    """An outside id in a path; it may hold slashes (sent as %2F), but not end like a longer path."""

    regex = r"(?s:.+)(?<!/similar)(?<!/feed)(?<!/debug)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _IdBefore(_Id):
    """An outside id with more path behind it."""

    regex = r"(?s:.+)"


class HotRoute(Route):
    """A plain Starlette route that tells the request's scope which route it was, for the metrics."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self
        await super().handle(scope, receive, send)


class ListRoute(HotRoute):
    """A GET route of a list, made of an id in its path and of its query string alone (see `serving/express.py`).

    Args:
        before, name, after: the path, such as "/v1/items/", "item_id" and "/similar".
        answer: makes the answer from the application's state, the id and the raw query string.
        headers: of the answer, beside its type and length.
    """

    def __init__(
        self,
        before: str,
        name: str,
        after: str,
        answer: Callable[[State, str, bytes], Awaitable[bytes]],
        **headers: str,
    ) -> None:
        self.before, self.after = before, after
        self._id, self._answer = name, answer
        self._headers = {"content-type": "application/json"} | headers
        self.raw_headers = [(key.encode(), value.encode()) for key, value in self._headers.items()]
        super().__init__(f"{before}{{{name}:id_before}}{after}", self._respond, methods=["GET"])

    async def body(self, scope: Scope, outside_id: str) -> bytes:
        """What is answered.

        Raises:
            ProblemError: 422, the id or the query string breaks a rule.
        """
        return await self._answer(scope["app"].state, checked_id(self._id, outside_id), scope["query_string"])

    async def _respond(self, request: Request) -> Response:
        body = await self.body(request.scope, request.path_params[self._id])
        return Response(body, headers=self._headers)


register_url_convertor("id", _Id())
register_url_convertor("id_before", _IdBefore())


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes the errors of a route."""
    said = {
        400: "The form cannot be read",
        404: "Unknown item or version, or an item without picture",
        409: "Not possible now: the problem says what the model lacks, or what has changed meanwhile",
        413: "The body is too large",
        415: "The body is of no type that is taken",
        422: "A parameter or the body breaks a rule; `errors` names it",
        503: "No bundle is open yet, or Redis is needed and away; try again after `Retry-After` seconds",
    }
    schema = ProblemOut.model_json_schema()
    return {status: {"description": said[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def engine_of(request: Request) -> Engine:
    """The application's engine."""
    return cast(Engine, request.app.state.engine)


def lists_of(request: Request) -> ListEngine:
    """The application's ranked lists."""
    return cast(ListEngine, request.app.state.lists)


def checked_id(name: str, value: str) -> str:
    """An id from a path.

    Raises:
        ProblemError: 422, it is too long.
    """
    if len(value) > MAX_ID_CHARS:
        rule = f"must have at most {MAX_ID_CHARS} characters"
        raise ProblemError(
            422,
            "invalid-request",
            f"{name} {rule}",
            errors=[{"place": f"path.{name}", "rule": rule, "value": value[:80]}],
        )
    return value


def query_of(request: Request, kind: type[Asked]) -> Asked:
    """The query parameters of a hot route, read by hand.

    Raises:
        ProblemError: 422, one is unknown, breaks its rule, or is there twice and is no list.
    """
    return asked_by(kind, request.scope["query_string"])


def asked_by(kind: type[Asked], text: bytes) -> Asked:
    """As `query_of`, from the raw query string."""
    if len(text) > USUAL_CHARS:
        return _parsed(kind, text)
    return cast("Asked", _usual(kind, text))


@lru_cache(maxsize=4096)
def _usual(kind: type[BaseModel], text: bytes) -> BaseModel:
    """A short query is asked again and again ("k=12"), and nobody changes what is parsed."""
    return _parsed(kind, text)


def _parsed(kind: type[Asked], text: bytes) -> Asked:
    given: dict[str, str | list[str]] = {}
    for name, value in QueryParams(text).multi_items():
        field = kind.model_fields.get(name)
        if field is None:
            raise _refused(name, "unknown query parameter", value)
        if get_origin(field.annotation) is list:
            cast("list[str]", given.setdefault(name, [])).append(value)
        elif name in given:
            raise _refused(name, "may be given once", value)
        else:
            given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise invalid(error, "query") from error


async def body_of(request: Request, kind: type[Asked], *, remark: str = "") -> Asked:
    """The JSON body of a hot route that takes no query parameter; `remark` is added to what is wrong with it.

    Raises:
        ProblemError: 415, the body is of another type; 422, it breaks a rule.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(415, "unsupported-media-type", f"the body must be application/json, it is {media_type!r}")
    no_query(request)
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise invalid(error, "body", remark=remark) from error


def no_query(request: Request) -> None:
    """Insist on there being no query parameter.

    Raises:
        ProblemError: 422, there is one.
    """
    if request.query_params:
        name, value = request.query_params.multi_items()[0]
        raise _refused(name, "unknown query parameter", value)


def invalid(error: ValidationError, where: str, *, remark: str = "") -> ProblemError:
    """What is wrong with a "body" or a "query", as a problem 422; `remark` is added to the detail."""
    errors = broken_rules(error, where)[:SHOWN_ERRORS]
    detail = f"{errors[0]['place']}: {errors[0]['rule']}{remark}"
    return ProblemError(422, "invalid-request", detail, errors=errors)


def _refused(name: str, rule: str, value: str) -> ProblemError:
    errors = [{"place": f"query.{name}", "rule": rule, "value": value[:80]}]
    return ProblemError(422, "invalid-request", f"query.{name}: {rule}, got {value[:80]!r}", errors=errors)
