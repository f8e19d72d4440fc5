"""Lists for sessions and examples, and many lists in one call."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import BatchIn, RecommendIn
from serving.routes.common import HotRoute, body_of, engine_of, lists_of, problems
from serving.schemas import AnswerOut, BatchOut

HEADERS = {"cache-control": "no-store"}


async def recommend(request: Request) -> Response:
    """Hot path: bytes in, bytes out."""
    _ = engine_of(request).live  # not ready is said before the body is judged
    body = await lists_of(request).recommend(await body_of(request, RecommendIn))
    return Response(body, media_type="application/json", headers=HEADERS)


async def batch(request: Request) -> Response:
    """Hot path: bytes in, bytes out."""
    _ = engine_of(request).live
    body = await lists_of(request).batch(await body_of(request, BatchIn))
    return Response(body, media_type="application/json", headers=HEADERS)


hot = [
    HotRoute("/v1/recommend", recommend, methods=["POST"]),
    HotRoute("/v1/batch", batch, methods=["POST"]),
]
documented = APIRouter(tags=["lists"])


@documented.post("/v1/recommend", response_model=AnswerOut, responses=problems(413, 415, 422, 503))
async def recommend_items(query: RecommendIn) -> None:
    """What to show somebody who need not have an id, by what they viewed in this session, and by examples of what they
    want and do not want. Unknown items are ignored; where nothing else is known, it is what is popular.
    """


@documented.post("/v1/batch", response_model=BatchOut, responses=problems(413, 415, 422, 503))
async def batch_of_lists(batch: BatchIn) -> None:
    """Many lists in one call, each as its own route would answer it. A request that has no answer (an unknown item)
    has its problem in the answer's place; the others are answered.
    """
