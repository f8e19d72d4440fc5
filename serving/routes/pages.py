"""Pages: the storefront, and the API's description to try out; all from this service, nothing from a CDN."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent.parent / "static"

DOCS_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
DOCS_SCRIPT = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });\n'
DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements inline."""


def _swagger_folder() -> Path:
    """Where the package with Swagger UI keeps it; found without importing the package."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline, whose Swagger UI the page /docs shows, is not installed")
    return Path(spec.origin).parent / "static"


async def storefront(_: Request) -> Response:
    """The storefront."""
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


async def docs(_: Request) -> Response:
    """The API's description."""
    return HTMLResponse(DOCS_PAGE, headers={"content-security-policy": DOCS_CSP})


async def docs_script(_: Request) -> Response:
    """What starts Swagger UI; a file of its own, as the policy allows no inline scripts."""
    return Response(DOCS_SCRIPT, media_type="text/javascript")


async def widget(_: Request) -> Response:
    """The script that pages of other sites load; it is asked about again after five minutes."""
    headers = {"cache-control": "public, max-age=300", "cross-origin-resource-policy": "cross-origin"}
    return FileResponse(STATIC / "widget.js", media_type="text/javascript", headers=headers)


class _Fresh(StaticFiles):
    """Files that a browser asks about again each time, so that an update is seen at once."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.setdefault("cache-control", "no-cache")
        return response


def pages() -> list[BaseRoute]:
    """The routes of all pages."""
    return [
        Route("/", storefront, methods=["GET"]),
        Route("/widget.js", widget, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/docs/start.js", docs_script, methods=["GET"]),
        Mount("/docs/assets", StaticFiles(directory=_swagger_folder())),
        Mount("/static", _Fresh(directory=STATIC)),
    ]
