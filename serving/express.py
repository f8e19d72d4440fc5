"""A layer ahead of the router for the lists that are asked for most: an id in the path, a query string, bytes back.

The router, its handling of errors and its objects for request and response cost as much as a list that is kept. What is
asked for plainly is answered here; every other method, and whatever goes wrong, is the router's, which answers the same
routes by the same functions and tells errors in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.engine import NotReadyError, UnknownItemError
from serving.problems import ProblemError
from serving.routes.common import ListRoute


class Express:
    """Answers what list routes are asked for.

    Args:
        app: the router, with what it needs around it.
        routes: those to be answered here.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[ListRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            path: str = scope["path"]
            for route in self._routes:
                outside_id = path[len(route.before) : -len(route.after)]
                if outside_id and path.endswith(route.after) and path.startswith(route.before):
                    try:
                        body = await route.body(scope, outside_id)
                    except (ProblemError, UnknownItemError, NotReadyError):
                        break
                    scope["route"] = route
                    headers = [*route.raw_headers, (b"content-length", b"%d" % len(body))]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    await send({"type": "http.response.body", "body": body})
                    return
        await self._app(scope, receive, send)
