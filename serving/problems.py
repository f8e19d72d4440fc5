"""Errors as problem details (RFC 9457): `{type, title, status, detail, ...}` as application/problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        kind: short name of the rule that was broken; becomes the problem's type.
        detail: what is wrong here, in words.
        headers: further response headers.
        extra: further members of the problem.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.extra = extra

    def response(self) -> Response:
        """As a response."""
        return problem(self.status, self.kind, self.detail, headers=self.headers, **self.extra)


def problem(
    status: int, kind: str | None, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
) -> Response:
    """A problem response; without a kind, its type is the status alone ("about:blank")."""
    body = {
        "type": f"urn:recsys:problem:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase if kind is None else kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        **extra,
    }
    return Response(
        orjson.dumps(body, default=str), status, media_type=MEDIA_TYPE, headers=dict(headers) if headers else None
    )


def broken_rules(error: ValidationError, where: str) -> list[dict[str, str]]:
    """What breaks a rule in something that came: `place` (beginning with `where`), `rule`, and `value`, shortened."""
    return [
        {
            "place": ".".join((where, *(str(part) for part in one["loc"]))),
            "rule": one["msg"].removeprefix("Value error, "),
            "value": str(one["input"])[:80],
        }
        for one in error.errors(include_url=False, include_context=False)
    ]


def unknown_item(item_id: str) -> Response:
    """The problem that the catalog has no such item."""
    return problem(404, "unknown-item", f"no item {item_id!r} in the catalog", item_id=item_id)
