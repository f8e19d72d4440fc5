"""Pictures, as the shop has them: raster only, typed by content, cached by the browser."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import NoQuery
from serving.items.said import UPLOADED
from serving.pictures import picture_of, read_picture
from serving.problems import ProblemError
from serving.routes.common import engine_of, problems
from serving.routes.items import ItemId

router = APIRouter(tags=["items"])
CACHE = "public, max-age=86400"


@router.get(
    "/v1/images/{item_id:id}",
    response_class=Response,
    responses={
        200: {"description": "The picture", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "The picture has not changed"},
        **problems(404, 422, 503),
    },
)
async def image(request: Request, item_id: ItemId, _: Annotated[NoQuery, Query()]) -> Response:
    """An item's picture."""
    live = engine_of(request).live
    if item_id not in live.bundle.items:
        raise ProblemError(404, "unknown-item", f"no item {item_id!r} in the catalog", item_id=item_id)
    name = live.bundle.display(live.bundle.items.idx(item_id)).get("image")
    source = request.app.state.pictures
    picture = None
    if name and name.startswith(UPLOADED):
        data = await request.app.state.shelf.picture(item_id, name)
        picture = None if data is None else picture_of(data)
    elif name and source is not None:
        picture = await asyncio.to_thread(read_picture, source, name)
    if picture is None:
        raise ProblemError(404, "no-picture", f"item {item_id!r} has no picture here", item_id=item_id)
    headers = {
        "cache-control": CACHE,
        "etag": picture.etag,
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",  # the widget shows them on other sites' pages
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if picture.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(picture.data, media_type=picture.media_type, headers=headers)
