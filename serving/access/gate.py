"""The gate before the application: an API key that may do this, and not too often.

Without a file of keys the service is open, for use on the machine itself. What a route needs is told by its method and
path; a path that no line below knows needs `admin`, so that a new route is closed until somebody opens it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.keyring import KeyRing
from serving.access.keyring import Scope as KeyScope
from serving.access.rate import SharedRateLimiter
from serving.problems import ProblemError
from serving.store import Store
from serving.telemetry import Telemetry

Need = KeyScope | Literal["public"]
CALLER = "recsys.key"
"""Where the scope of a request holds the name of its key."""

NEEDS: Sequence[tuple[str, str, Need]] = (
    ("GET", r"/|/health|/ready|/docs|/docs/.*|/static/.*|/widget\.js|/openapi\.json", "public"),
    ("GET", r"/v1/images/.+", "public"),  # an <img> cannot send a key, and a shop's pictures are on its pages anyway
    ("GET", r"/v1/items/.+/debug", "admin"),
    ("GET", r"/v1/items", "read"),
    ("GET", r"/v1/items/.+", "read"),
    ("GET", r"/v1/users/.+/feed", "read"),
    ("POST", r"/v1/(search|recommend|batch)", "read"),
    ("POST", r"/v1/events", "write"),
    ("GET", r"/metrics", "metrics"),
)


def need(method: str, path: str) -> Need:
    """What a key must be allowed for this request; "public" needs none."""
    asked = "GET" if method == "HEAD" else method
    return next((needed for verb, form, needed in NEEDS if verb == asked and re.fullmatch(form, path)), "admin")


class Gate:
    """Lets a request through to the application, or answers 401, 403 or 429.

    The key stands in `Authorization: Bearer KEY` or in `X-API-Key: KEY`.

    Args:
        app: the application.
        ring: the keys.
        store: Redis, where the keys' rates are kept.
        telemetry: counts the refused.
    """

    def __init__(self, app: ASGIApp, *, ring: KeyRing, store: Store, telemetry: Telemetry) -> None:
        self._app = app
        self._ring = ring
        self._limiter = SharedRateLimiter(store, telemetry)
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            try:
                await self._check(scope)
            except ProblemError as refusal:
                self._telemetry.refused.labels(refusal.kind).inc()
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        needed = need(scope["method"], scope["path"])
        if needed == "public":
            return
        sent = presented(Headers(scope=scope))
        key = self._ring.find(sent) if sent else None
        if key is None:
            why = "this API key is not known" if sent else "an API key is needed"
            detail = f"{why}: send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
            raise ProblemError(401, "no-valid-key", detail, headers={"www-authenticate": "Bearer"})
        scope[CALLER] = key.name
        if needed not in key.scopes and not (needed == "metrics" and "admin" in key.scopes):
            has = ", ".join(sorted(key.scopes))
            raise ProblemError(403, "scope-missing", f"key {key.name!r} may {has}; this needs {needed!r}")
        if key.rate_per_s is None:
            return
        wait_s = await self._limiter.wait_s(key.name, rate_per_s=key.rate_per_s, burst=key.burst)
        if wait_s:
            detail = f"key {key.name!r} may send {key.rate_per_s:g} requests a second, {key.burst} at once"
            raise ProblemError(429, "rate-limit", detail, headers={"retry-after": str(math.ceil(wait_s))})


def presented(headers: Headers) -> str:
    """The key that a request brings, "" for none."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
