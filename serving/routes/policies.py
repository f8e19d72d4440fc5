"""Rules and experiments: reading, trying, changing and taking back. For those who run the shop."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

import orjson
from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from recsys.experiments import Experiments
from recsys.rules.model import RuleSet
from serving.access.gate import CALLER
from serving.asked import NoQuery
from serving.policy_desk import PolicyDesk, Trial
from serving.policy_schemas import (
    ChangedOut,
    ExperimentsOut,
    ResultsOut,
    RollbackIn,
    RulesOut,
    TrialIn,
    TrialOut,
)
from serving.problems import ProblemError
from serving.routes.common import HotRoute, body_of, no_query, problems, query_of

router = APIRouter(tags=["rules"])
documented = APIRouter(tags=["rules"])


class VersionQuery(NoQuery):
    """Which version."""

    version: int | None = Field(None, ge=0, description="A version by its number; the active one where absent.")


class PutQuery(NoQuery):
    """What to remember of a change."""

    note: str = Field("", max_length=1_000, description="What to remember of this change.")


def desk_of(request: Request) -> PolicyDesk:
    """The application's desk of rules and experiments."""
    return cast(PolicyDesk, request.app.state.policy_desk)


def _expected(request: Request) -> int | None:
    """The version in `If-Match`, which must still be the active one; None where there is no such header."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    found = re.fullmatch(r'"?([0-9]{1,9})"?', given)
    if found is None:
        errors = [{"place": "header.if-match", "rule": "must be the number of a version", "value": given[:80]}]
        raise ProblemError(422, "invalid-request", "if-match: must be the number of a version", errors=errors)
    return int(found[1])


def _answer(told: dict[str, Any]) -> Response:
    etag = {"etag": f'"{told["version"]}"'} if "version" in told else {}
    return Response(orjson.dumps(told), media_type="application/json", headers={"cache-control": "no-store", **etag})


def _note(request: Request, note: str) -> str:
    """The note with who made the change, where the service knows it."""
    caller = request.scope.get(CALLER)
    return note if caller is None else f"{note} ({caller})".strip()


async def put_rules(request: Request) -> Response:
    """Read by hand, so that what is wrong is told with the name of the rule."""
    query, expected = query_of(request, PutQuery), _expected(request)
    done = await desk_of(request).put_rules(await request.body(), note=_note(request, query.note), expected=expected)
    return _answer(done)


async def put_experiments(request: Request) -> Response:
    """Likewise."""
    query, expected = query_of(request, PutQuery), _expected(request)
    note = _note(request, query.note)
    return _answer(await desk_of(request).put_experiments(await request.body(), note=note, expected=expected))


async def roll_back(request: Request) -> Response:
    """One route for rules and experiments."""
    what = "rules" if request.url.path.startswith("/v1/rules/") else "experiments"
    no_query(request)
    asked = await body_of(request, RollbackIn) if await request.body() else RollbackIn()
    return _answer(await desk_of(request).rollback(what, asked.to))


async def try_rules(request: Request) -> Response:
    """The rules within the body are read by hand, as in `put_rules`."""
    asked = await body_of(request, TrialIn)
    groups = None if asked.segments is None else frozenset(asked.segments)
    trial = Trial(asked.item_id, asked.user_id, asked.k, asked.scenario, groups, asked.now_s)
    raw = None if asked.rules is None else orjson.dumps(asked.rules)
    return _answer(await desk_of(request).try_rules(raw, asked.version, trial))


hot = [
    HotRoute("/v1/rules", put_rules, methods=["PUT"]),
    HotRoute("/v1/rules/rollback", roll_back, methods=["POST"]),
    HotRoute("/v1/rules/dry-run", try_rules, methods=["POST"]),
    HotRoute("/v1/experiments", put_experiments, methods=["PUT"]),
    HotRoute("/v1/experiments/rollback", roll_back, methods=["POST"]),
]


@documented.put("/v1/rules", response_model=ChangedOut, responses=problems(409, 413, 422, 503))
async def replace_rules(
    rules: RuleSet, query: Annotated[PutQuery, Query()], if_match: Annotated[str | None, Header()] = None
) -> None:
    """Replace the rule set; every worker goes by it within about a second.

    It is checked against grammar and catalog first. With `If-Match: VERSION` the change is refused (409) where another
    version has become active since.
    """


@documented.post("/v1/rules/rollback", response_model=ChangedOut, responses=problems(409, 413, 415, 422, 503))
async def roll_rules_back(to: RollbackIn | None = None) -> None:
    """Go back to the version that was active before (no body), or to the one named."""


@documented.post("/v1/rules/dry-run", response_model=TrialOut, responses=problems(404, 413, 415, 422, 503))
async def dry_run(trial: TrialIn) -> None:
    """Show what each rule would remove or move in one answer: of the rules given, or of a stored version."""


@documented.put(
    "/v1/experiments", response_model=ChangedOut, responses=problems(409, 413, 422, 503), tags=["experiments"]
)
async def replace_experiments(
    experiments: Experiments, query: Annotated[PutQuery, Query()], if_match: Annotated[str | None, Header()] = None
) -> None:
    """Replace the experiments; every worker goes by them within about a second.

    What a guard-rail has stopped stays stopped under its name.
    """


@documented.post(
    "/v1/experiments/rollback",
    response_model=ChangedOut,
    responses=problems(409, 413, 415, 422, 503),
    tags=["experiments"],
)
async def roll_experiments_back(to: RollbackIn | None = None) -> None:
    """Go back to the experiments that were active before (no body), or to the version named."""


@router.get("/v1/rules", response_model=RulesOut, responses=problems(404, 422, 503))
async def rules(request: Request, query: Annotated[VersionQuery, Query()]) -> Response:
    """The rule set that holds, or an earlier version, with the history."""
    return _answer(await desk_of(request).rules(query.version))


@router.get("/v1/experiments", response_model=ExperimentsOut, responses=problems(404, 422, 503), tags=["experiments"])
async def experiments(request: Request, query: Annotated[VersionQuery, Query()]) -> Response:
    """The experiments, or an earlier version of them, with the history, and those that a guard-rail has stopped."""
    return _answer(await desk_of(request).experiments(query.version))


@router.get("/v1/experiments/results", response_model=ResultsOut, responses=problems(422, 503), tags=["experiments"])
async def results(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
    """What each arm showed and what came of it, summed over all workers, and what the guard-rails say."""
    return _answer(await desk_of(request).results())
