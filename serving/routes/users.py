"""Users: the personal feed, what they did lately, and forgetting it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from serving.asked import MAX_ID_CHARS, FeedQuery, NoQuery
from serving.routes.common import HotRoute, checked_id, engine_of, lists_of, problems, query_of
from serving.schemas import AnswerOut, UserOut

UserId = Annotated[
    str, Path(description="Any id; one never seen is no error. Percent-encoded.", min_length=1, max_length=MAX_ID_CHARS)
]
SHOWN_EVENTS = 50


async def feed(request: Request) -> Response:
    """Hot path: bytes in, bytes out."""
    query = query_of(request, FeedQuery)
    return Response(
        await lists_of(request).feed(checked_id("user_id", request.path_params["user_id"]), query),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


hot = [HotRoute("/v1/users/{user_id:id_before}/feed", feed, methods=["GET"])]
documented = APIRouter(tags=["users"])
router = APIRouter(tags=["users"])


@documented.get("/v1/users/{user_id}/feed", response_model=AnswerOut, responses=problems(422, 503))
async def user_feed(user_id: UserId, query: Annotated[FeedQuery, Query()]) -> None:
    """What to show this user now; what they viewed lately, are looking at or have in the cart changes it, and is not
    shown again.
    """


@router.get("/v1/users/{user_id:id}", response_model=UserOut, responses=problems(422, 503))
async def user(request: Request, user_id: UserId, _: Annotated[NoQuery, Query()]) -> Response:
    """The user's recent events, newest last."""
    body = await engine_of(request).past(user_id, SHOWN_EVENTS)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.delete("/v1/users/{user_id:id}", status_code=204, response_class=Response, responses=problems(422, 503))
async def forget(request: Request, user_id: UserId, _: Annotated[NoQuery, Query()]) -> Response:
    """Forget the user's live state: recent events and what is not to be shown again."""
    await engine_of(request).forget(user_id)
    return Response(status_code=204)
