"""Changing the catalog: new items, new prices, what sold out, what is gone; one at a time, or many."""

from __future__ import annotations

from typing import cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.items.desk import ItemDesk
from serving.items.shapes import BulkIn, BulkOut, BulkRows, ItemIn, ItemPatch, WrittenOut
from serving.routes.common import HotRoute, body_of, checked_id, engine_of, no_query, problems
from serving.routes.items import ItemId
from serving.rows import parted

PATH = "/v1/items/{item_id:id}"
JSON = "application/json"


async def put(request: Request) -> Response:
    """An item as a whole."""
    return await _write(request, whole=True)


async def patch(request: Request) -> Response:
    """A change of an item."""
    return await _write(request, whole=False)


async def delete(request: Request) -> Response:
    """An item is gone."""
    no_query(request)
    await _desk(request).delete(checked_id("item_id", request.path_params["item_id"]))
    return Response(status_code=204)


async def bulk(request: Request) -> Response:
    """Many items."""
    _ = engine_of(request).live
    batch = await body_of(request, BulkRows, remark="; nothing of this import was taken")
    good, bad = parted(batch.items)
    refused = {index: row.told(index, "item_id", "items") for index, row in bad.items()}
    refused |= await _desk(request).bulk(good, whole=batch.mode == "put")
    told = [refused[index] for index in sorted(refused)]
    body = {"accepted": len(batch.items) - len(told), "refused": told}
    return Response(orjson.dumps(body), media_type=JSON)


async def _write(request: Request, *, whole: bool) -> Response:
    _ = engine_of(request).live
    item_id = checked_id("item_id", request.path_params["item_id"])
    said = await body_of(request, ItemIn if whole else ItemPatch)
    item, is_new = await _desk(request).write(item_id, said, whole=whole)
    return Response(b'{"item":' + item + (b',"is_new":true}' if is_new else b',"is_new":false}'), media_type=JSON)


def _desk(request: Request) -> ItemDesk:
    return cast(ItemDesk, request.app.state.desk)


hot = [
    HotRoute(PATH, put, methods=["PUT"]),
    HotRoute(PATH, patch, methods=["PATCH"]),
    HotRoute(PATH, delete, methods=["DELETE"]),
    HotRoute("/v1/items", bulk, methods=["POST"]),
]
documented = APIRouter(tags=["items"])
_PROBLEMS = problems(404, 409, 413, 415, 422, 503)


@documented.put("/v1/items/{item_id}", response_model=WrittenOut, responses=problems(409, 413, 415, 422, 503))
async def put_item(item_id: ItemId, item: ItemIn) -> None:
    """Say all of an item, known or new. It is encoded, placed among the others and answerable when this returns, here;
    in other workers within a fifth of a second. A known item keeps the place that training gave it.
    """


@documented.patch("/v1/items/{item_id}", response_model=WrittenOut, responses=_PROBLEMS)
async def patch_item(item_id: ItemId, item: ItemPatch) -> None:
    """Change some of an item: its price, whether it can be bought, its words, its picture."""


@documented.delete("/v1/items/{item_id}", status_code=204, response_class=Response, responses=problems(404, 422, 503))
async def delete_item(item_id: ItemId) -> None:
    """Remove an item: it is unknown from now on, until it is put again."""


@documented.post("/v1/items", response_model=BulkOut, responses=problems(413, 415, 422, 503))
async def import_items(batch: BulkIn) -> None:
    """Put or patch up to 500 items. A body that is no list of items is refused as a whole (422); of one that is, the
    good items are taken and the others named in `refused`, with the rule, the place and the value.
    """
