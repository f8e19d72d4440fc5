"""What every request passes through: an id, a size limit, security headers, a metric, a log line."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.gate import CALLER
from serving.ids import new_id
from serving.limits import most_bytes
from serving.problems import ProblemError, problem
from serving.telemetry import TIER, Telemetry

log = structlog.get_logger()

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Set where the answer does not set its own."""
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}
QUIET = {"/health", "/ready", "/metrics"}
"""Asked by machines every few seconds; not logged."""


class Shell:
    """The outermost layer of the application.

    Args:
        app: the application.
        telemetry: counts and times requests.
        max_body_bytes: a larger request body is refused with 413.
        larger: as of `limits.larger_bodies`.
        log_requests: one log line a request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        telemetry: Telemetry,
        max_body_bytes: int,
        log_requests: bool,
        larger: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes
        self._larger = larger or {}
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else new_id()
        status = 0

        async def send_dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given_headers = message.setdefault("headers", [])
                names = {name for name, _ in given_headers}
                message["headers"] = [
                    *given_headers,
                    (b"x-request-id", request_id.encode()),
                    *(pair for pair in RAW_HEADERS if pair[0] not in names),
                ]
            await send(message)

        try:
            declared = headers.get(b"content-length", b"0").decode("latin-1")
            most = most_bytes(scope["path"], self._max_body_bytes, self._larger)
            if declared.isdecimal() and int(declared) > most:
                await _too_large(most).response()(scope, receive, send_dressed)
            else:
                await self._app(scope, _limited(receive, most), send_dressed)
        except Exception:
            log.exception("request failed", request_id=request_id, path=scope["path"])
            if status:
                raise  # the answer has begun: the connection must break, so that nobody takes it for whole
            answer = problem(500, None, "the service failed; the log has more under this id", request_id=request_id)
            await answer(scope, receive, send_dressed)
        finally:
            self._account(scope, status, time.perf_counter() - began, request_id)

    def _account(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        matched = scope.get("route")
        route = str(getattr(matched, "path_format", None) or getattr(matched, "path", "unmatched"))
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._telemetry.requests.labels(route, method, str(status)).inc()
        self._telemetry.latency.labels(route, TIER.get()).observe(seconds)
        if self._log_requests and scope["path"] not in QUIET:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * seconds, 2),
                request_id=request_id,
                key=scope.get(CALLER),
            )


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, "body-too-large", f"a request body may have {most} bytes at most")


def _limited(receive: Receive, most: int) -> Receive:
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise _too_large(most)
        return message

    return receive_limited
