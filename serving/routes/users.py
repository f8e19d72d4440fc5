"""Users: the personal feed, what they did lately, and forgetting it."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import MAX_ID_CHARS, FeedQuery, NoQuery
from serving.describing import Attributes
from serving.routes.common import HotRoute, ListRoute, asked_by, body_of, checked_id, engine_of, problems
from serving.rows import parted
from serving.schemas import AnswerOut
from serving.user_schemas import BulkUserRows, BulkUsersIn, BulkUsersOut, UserIn, UserOut

UserId = Annotated[
    str, Path(description="Any id; one never seen is no error. Percent-encoded.", min_length=1, max_length=MAX_ID_CHARS)
]
SHOWN_EVENTS = 50


async def feed(state: State, user_id: str, text: bytes) -> bytes:
    """Hot path: bytes in, bytes out."""
    query, began = asked_by(FeedQuery, text), time.perf_counter()
    answer: bytes = await state.lists.feed(user_id, query)
    state.shadow.offer("feed", user_id, query, answer, time.perf_counter() - began)
    return answer


async def put(request: Request) -> Response:
    """All that the shop says of a user."""
    return await _describe(request, whole=True)


async def patch(request: Request) -> Response:
    """Some of it."""
    return await _describe(request, whole=False)


async def _describe(request: Request, *, whole: bool) -> Response:
    engine = engine_of(request)
    _ = engine.live
    user_id = checked_id("user_id", request.path_params["user_id"])
    said = await body_of(request, UserIn)
    await engine.describe({user_id: said.attributes}, whole=whole)
    body = await engine.past(user_id, SHOWN_EVENTS)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


async def bulk(request: Request) -> Response:
    """Many users."""
    engine = engine_of(request)
    _ = engine.live
    said = await body_of(request, BulkUserRows, remark="; nothing of this import was taken")
    good, bad = parted(said.users)
    taken: dict[str, Attributes] = {}
    refused = {index: row.told(index, "user_id", "users") for index, row in bad.items()}
    for index, user in good.items():
        if user.user_id in taken:
            rule, place = "a user may be named once in a batch", f"body.users.{index}.user_id"
            told = {"index": index, "user_id": user.user_id, "rule": rule, "place": place, "value": user.user_id[:80]}
            refused[index] = told
            continue
        taken[user.user_id] = user.attributes
    await engine.describe(taken, whole=said.mode == "put")
    body = orjson.dumps({"accepted": len(taken), "refused": [refused[index] for index in sorted(refused)]})
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


lists = [ListRoute("/v1/users/", "user_id", "/feed", feed, **{"cache-control": "no-store"})]
hot = [
    *lists,
    HotRoute("/v1/users", bulk, methods=["POST"]),
    HotRoute("/v1/users/{user_id:id}", put, methods=["PUT"]),
    HotRoute("/v1/users/{user_id:id}", patch, methods=["PATCH"]),
]
documented = APIRouter(tags=["users"])
router = APIRouter(tags=["users"])


@documented.get("/v1/users/{user_id}/feed", response_model=AnswerOut, responses=problems(422, 503))
async def user_feed(user_id: UserId, query: Annotated[FeedQuery, Query()]) -> None:
    """What to show this user now; what they viewed lately, are looking at or have in the cart changes it, and is not
    shown again.
    """


@documented.put("/v1/users/{user_id}", response_model=UserOut, responses=problems(413, 415, 422, 503))
async def put_user(user_id: UserId, user: UserIn) -> None:
    """Say all there is to say of a user; rules hold for segments of users by it. Events and history stay."""


@documented.patch("/v1/users/{user_id}", response_model=UserOut, responses=problems(413, 415, 422, 503))
async def patch_user(user_id: UserId, user: UserIn) -> None:
    """Change some of it: an attribute without values is not known any more, others stay as they are."""


@documented.post("/v1/users", response_model=BulkUsersOut, responses=problems(413, 415, 422, 503))
async def import_users(batch: BulkUsersIn) -> None:
    """Put or patch what is said of up to 500 users. A body that is no list of users is refused as a whole (422); of one
    that is, the good users are taken and the others named in `refused`, with the rule, the place and the value. Where
    Redis goes away in the middle (503) those before are kept, and the same body may be sent again.
    """


@router.get("/v1/users/{user_id:id}", response_model=UserOut, responses=problems(422, 503))
async def user(request: Request, user_id: UserId, _: Annotated[NoQuery, Query()]) -> Response:
    """The user's recent events, newest last."""
    body = await engine_of(request).past(user_id, SHOWN_EVENTS)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.delete("/v1/users/{user_id:id}", status_code=204, response_class=Response, responses=problems(422, 503))
async def forget(request: Request, user_id: UserId, _: Annotated[NoQuery, Query()]) -> Response:
    """Delete all the service holds of a user: events, what is not to be shown again, attributes, at once; and their
    entries in the streams of events and answers within a minute. What a model learned stays until the next training.
    """
    await engine_of(request).forget(user_id)
    return Response(status_code=204)
