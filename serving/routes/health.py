"""For machines that watch: alive, ready, metrics."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import NoQuery
from serving.schemas import HealthOut, ReadyOut

router = APIRouter(tags=["operation"])


@router.get("/health", response_model=HealthOut)
async def health(_: Annotated[NoQuery, Query()]) -> Response:
    """The process answers."""
    return Response(b'{"status":"alive"}', media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/ready", response_model=ReadyOut, responses={503: {"model": ReadyOut, "description": "Not yet"}})
async def ready(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
    """Whether a bundle is open, and whether Redis answers (not needed to be ready)."""
    state = request.app.state
    live = state.watcher.live
    body = {
        "ready": live is not None,
        "version": None if live is None else live.version,
        "redis": "none" if not state.store.configured else "up" if state.store.up else "down",
        "pending_events": state.memory.n_pending,
        "policies": state.policies.origin,
    }
    status = 503 if live is None else 200
    return Response(orjson.dumps(body), status, media_type="application/json", headers={"cache-control": "no-store"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
    """Counters and latencies of all workers."""
    return Response(request.app.state.telemetry.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})
