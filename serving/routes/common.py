"""What the routes share: the engine of the application, ids in paths, and the reading of query parameters."""

from __future__ import annotations

import re
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.engine import Engine
from serving.problems import MEDIA_TYPE, ProblemError
from serving.schemas import ProblemOut

MAX_ID_CHARS = 256
DEFAULT_K = 12
MAX_K = 100
SHOWN_ERRORS = 20


class _Id(Convertor[str]):
    """An outside id in a path; it may hold slashes (sent as %2F), but not end like a longer path."""

    regex = r"(?s:.+)(?<!/similar)(?<!/feed)"

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


register_url_convertor("id", _Id())
register_url_convertor("id_before", _IdBefore())


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes the errors of a route."""
    said = {
        400: "The form cannot be read",
        404: "Unknown item, or it has no picture",
        409: "The model that answers cannot do this: the problem says what it lacks, and why",
        413: "The body is too large",
        415: "The body is of no type that is taken",
        422: "A parameter or the body breaks a rule; `errors` names it",
        503: "No bundle is open yet, or Redis is needed and away; try again after `Retry-After` seconds",
    }
    schema = ProblemOut.model_json_schema()
    return {status: {"description": said[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


class NoQuery(BaseModel):
    """No query parameter is known."""

    model_config = ConfigDict(extra="forbid")


class ListQuery(NoQuery):
    """The query of a ranked list."""

    k: int = Field(DEFAULT_K, ge=1, le=MAX_K, description="Suggestions at most.")


def engine_of(request: Request) -> Engine:
    """The application's engine."""
    return cast(Engine, request.app.state.engine)


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


def asked_k(request: Request) -> int:
    """`k` of a ranked list, read by hand as this is the hot path.

    Raises:
        ProblemError: 422, it is no whole number within its bounds, or another parameter was given.
    """
    k = DEFAULT_K
    for name, value in request.query_params.multi_items():
        if name != "k":
            raise _refused(name, "unknown query parameter (k is known)", value)
        if re.fullmatch(r"[0-9]{1,3}", value) is None or not 1 <= int(value) <= MAX_K:
            raise _refused(name, f"must be a whole number from 1 to {MAX_K}", value)
        k = int(value)
    return k


def no_query(request: Request) -> None:
    """Insist on there being no query parameter.

    Raises:
        ProblemError: 422, there is one.
    """
    if request.query_params:
        name, value = request.query_params.multi_items()[0]
        raise _refused(name, "unknown query parameter", value)


def body_problem(error: ValidationError, *, remark: str = "") -> ProblemError:
    """What is wrong with a body, as a problem 422; `remark` is added to the detail."""
    errors = [
        {
            "place": ".".join(("body", *(str(part) for part in one["loc"]))),
            "rule": one["msg"],
            "value": str(one["input"])[:80],
        }
        for one in error.errors(include_url=False, include_context=False)[:SHOWN_ERRORS]
    ]
    detail = f"{errors[0]['place']}: {errors[0]['rule']}{remark}"
    return ProblemError(422, "invalid-request", detail, errors=errors)


def _refused(name: str, rule: str, value: str) -> ProblemError:
    errors = [{"place": f"query.{name}", "rule": rule, "value": value[:80]}]
    return ProblemError(422, "invalid-request", f"query.{name}: {rule}, got {value[:80]!r}", errors=errors)
