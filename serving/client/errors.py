"""What goes wrong between a client and the service."""

from __future__ import annotations

from typing import Any

import orjson


class ServiceError(Exception):
    """The service refused or failed.

    Args:
        status: HTTP status.
        kind: the rule that was broken, such as "unknown-item"; "" where the answer names none.
        detail: what is wrong, in the service's words.
        problem: all members of the problem (RFC 9457).
        retry_after_s: seconds after which it is worth trying again; None where the service named none.
    """

    def __init__(
        self, status: int, kind: str, detail: str, problem: dict[str, Any], retry_after_s: float | None
    ) -> None:
        super().__init__(f"{status} {kind or 'error'}: {detail}")
        self.status = status
        self.kind = kind
        self.detail = detail
        self.problem = problem
        self.retry_after_s = retry_after_s


class UnreachableError(Exception):
    """The service cannot be reached, or did not answer in time."""


def service_error(status: int, content: bytes, retry_after: str | None) -> ServiceError:
    """From an answer that is no success."""
    try:
        problem = orjson.loads(content)
    except orjson.JSONDecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = str(problem.get("type", "")).removeprefix("urn:recsys:problem:").removeprefix("about:blank")
    wait_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    return ServiceError(status, kind, str(problem.get("detail", "")), problem, wait_s)
