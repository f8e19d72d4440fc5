"""Events: what shoppers did, in batches that may safely be sent again."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.events import Event, Refusal, accept
from serving.routes.common import HotRoute, body_of, engine_of, problems
from serving.schemas import EventsIn, EventsOut


async def record(request: Request) -> Response:
    """Check the batch's shape as a whole and each event's content by itself; hand the good ones on."""
    engine = engine_of(request)
    items = engine.live.bundle.items
    batch = await body_of(request, EventsIn, remark="; nothing of this batch was taken")
    events: list[Event] = []
    refused: list[Refusal] = []
    for index, raw in enumerate(batch.events):
        judged = accept(raw.model_dump(), index, known_item=raw.item_id in items)
        if isinstance(judged, Event):
            events.append(judged)
        else:
            refused.append(judged)
    recorded = await engine.record(events)
    outcomes = request.app.state.telemetry.events
    for outcome, n in (
        ("accepted", recorded.accepted),
        ("duplicate", recorded.duplicates),
        ("refused", len(refused)),
    ):
        outcomes.labels(outcome).inc(n)
    body = {"accepted": recorded.accepted, "duplicates": recorded.duplicates, "refused": refused}
    return Response(orjson.dumps(body), 202, media_type="application/json")


hot = [HotRoute("/v1/events", record, methods=["POST"])]
documented = APIRouter(tags=["events"])


@documented.post("/v1/events", status_code=202, response_model=EventsOut, responses=problems(413, 415, 422, 503))
async def record_events(batch: EventsIn) -> None:
    """Take in what shoppers did; their next feeds know of it.

    A body of another shape is refused as a whole (422). Of a well-formed batch the good events are taken and the others
    named in `refused`. An event with an `event_id` counts once, however often it is sent.
    """
