"""Events: what shoppers did, in batches that may safely be sent again."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from serving.events import Event, Refusal, accept
from serving.problems import ProblemError
from serving.routes.common import HotRoute, engine_of, problems
from serving.schemas import EventsIn, EventsOut

SHOWN_ERRORS = 20


async def record(request: Request) -> Response:
    """Check the batch's shape as a whole and each event's content by itself; hand the good ones on."""
    engine = engine_of(request)
    items = engine.live.bundle.items
    if (kind := request.headers.get("content-type", "").split(";")[0].strip()) != "application/json":
        raise ProblemError(415, "unsupported-media-type", f"the body must be application/json, it is {kind!r}")
    if request.query_params:
        name, value = request.query_params.multi_items()[0]
        errors = [{"place": f"query.{name}", "rule": "unknown query parameter", "value": value[:80]}]
        raise ProblemError(422, "invalid-request", f"query.{name}: unknown query parameter", errors=errors)
    try:
        batch = EventsIn.model_validate_json(await request.body())
    except ValidationError as error:
        raise _misshapen(error) from error
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


def _misshapen(error: ValidationError) -> ProblemError:
    errors = [
        {
            "place": ".".join(("body", *(str(part) for part in one["loc"]))),
            "rule": one["msg"],
            "value": str(one["input"])[:80],
        }
        for one in error.errors(include_url=False, include_context=False)[:SHOWN_ERRORS]
    ]
    detail = f"{errors[0]['place']}: {errors[0]['rule']}; nothing of this batch was taken"
    return ProblemError(422, "invalid-request", detail, errors=errors)


hot = [HotRoute("/v1/events", record, methods=["POST"])]
documented = APIRouter(tags=["events"])


@documented.post("/v1/events", status_code=202, response_model=EventsOut, responses=problems(413, 415, 422, 503))
async def record_events(batch: EventsIn) -> None:
    """Take in what shoppers did; their next feeds know of it.

    A body of another shape is refused as a whole (422). Of a well-formed batch the good events are taken and the others
    named in `refused`. An event with an `event_id` counts once, however often it is sent.
    """
