"""Items: the browse grid, an item's own page, and what is like it."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import MAX_ID_CHARS, DebugQuery, NoQuery, SimilarQuery
from serving.debugging import debug_json, surface_of
from serving.routes.common import ListRoute, asked_by, engine_of, lists_of, problems
from serving.schemas import AnswerOut, DebugOut, ItemOut, ItemsOut

ItemId = Annotated[
    str, Path(description="An item of the catalog; percent-encoded.", min_length=1, max_length=MAX_ID_CHARS)
]


class BrowseQuery(NoQuery):
    """The query of the browse grid."""

    k: int = Field(24, ge=1, le=100, description="Items at most.")
    offset: int = Field(0, ge=0, le=10_000_000, description="Items to skip.")
    category: str | None = Field(None, max_length=MAX_ID_CHARS, description="Only items of this category.")
    q: str | None = Field(None, max_length=100, description="Only items with this in their title.")


async def similar(state: State, item_id: str, text: bytes) -> bytes:
    """Hot path: bytes in, bytes out."""
    query, began = asked_by(SimilarQuery, text), time.perf_counter()
    answer: bytes = await state.lists.similar(item_id, query)
    state.shadow.offer("similar", item_id, query, answer, time.perf_counter() - began)
    return answer


lists = [ListRoute("/v1/items/", "item_id", "/similar", similar)]
hot = lists
documented = APIRouter(tags=["items"])
router = APIRouter(tags=["items"])


@documented.get("/v1/items/{item_id}/similar", response_model=AnswerOut, responses=problems(404, 422, 503))
async def similar_items(item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> None:
    """Items like this one, best first, each with its source and reasons.

    By everything that is known unless `mode` names one way of being alike, or weights mix them. What a way leaves open
    (an item without a picture is like nothing by picture) the lower tiers fill, and say so in `source`.
    """


@router.get("/v1/items", response_model=ItemsOut, responses=problems(422, 503))
async def browse(request: Request, query: Annotated[BrowseQuery, Query()]) -> Response:
    """The catalog as a grid, most popular first."""
    body = await engine_of(request).browse(k=query.k, offset=query.offset, category=query.category, q=query.q)
    return Response(body, media_type="application/json")


@router.get("/v1/items/{item_id:id_before}/debug", response_model=DebugOut, responses=problems(404, 422, 503))
async def debug(request: Request, item_id: ItemId, query: Annotated[DebugQuery, Query()]) -> Response:
    """What is near an item by each kind of likeness and in the graph; and, of a user's feed or the items like another,
    whether it is in the answer, what hides it, which step left it out, or how far below the cut it is.
    """
    live, standing, rules = await lists_of(request).standing(item_id, query)
    item = await engine_of(request).item(item_id)
    row = live.bundle.items.idx(item_id)
    body = debug_json(live.recommender, row, item, query.neighbors, standing, rules=rules, surface=surface_of(query))
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/v1/items/{item_id:id}", response_model=ItemOut, responses=problems(404, 422, 503))
async def item(request: Request, item_id: ItemId, _: Annotated[NoQuery, Query()]) -> Response:
    """One item."""
    return Response(await engine_of(request).item(item_id), media_type="application/json")
