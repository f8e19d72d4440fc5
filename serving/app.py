"""The application: everything put together, once per worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from features.errors import InputError
from recsys.recommender import BundleRecommender
from recsys.search.encoding import CannotSearch
from recsys.search.query import BadQuery
from serving.access.described import with_keys
from serving.access.gate import Gate
from serving.access.keyring import KeyRing
from serving.again import lasting
from serving.appeal import AppealKeeper
from serving.engine import Engine, NotReadyError, UnknownItemError
from serving.erasing import Eraser
from serving.express import Express
from serving.filtering import Filters
from serving.history.watch import HistoryWatch
from serving.impressions import ImpressionLog
from serving.items.desk import ItemDesk
from serving.items.keeper import ItemKeeper
from serving.items.kept import KeptItems
from serving.items.kept_pictures import KeptPictures
from serving.items.maker import CatalogMaker
from serving.items.shelf import ItemShelf
from serving.limits import larger_bodies, with_limits
from serving.lists import ListEngine
from serving.memory import WorkerMemory
from serving.middleware import Shell
from serving.pictures import open_pictures
from serving.policing import Policing
from serving.policy_desk import PolicyDesk
from serving.policy_keeper import PolicyKeeper
from serving.probes import Probes
from serving.problems import ProblemError, problem, unknown_item
from serving.restoring import Restorer
from serving.routes import events, health, images, items, pages, recommend, search, stock, users
from serving.routes import policies as policy_routes
from serving.search_engine import SearchEngine
from serving.settings import Settings, masked
from serving.shadow.worker import Shadow
from serving.store import Store, StoreDownError, StoreRefusedError
from serving.telemetry import Telemetry
from serving.vectors import StoredVectors
from serving.watcher import Watcher

if TYPE_CHECKING:
    from serving.tracing import Tracing

log = structlog.get_logger()

TITLE = "Recommendations"
VERSION = "1"
DESCRIPTION = """
Similar items, personal feeds, search by words and pictures, and the events that change them. Every answer says which
model made it, which tier of the fallback ladder each suggestion came from and why, and whether Redis or the worker's
own bundle held it. Errors are problem details (RFC 9457).
"""


def create_app(settings: Settings) -> FastAPI:
    """The application of one worker.

    Raises:
        InputError: a folder named in the settings cannot be used (the bundle is opened at start, not here).
    """
    telemetry = Telemetry(settings.tenant)
    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    tracing = _tracing(settings)
    store = (Store if tracing is None else tracing.store)(url, settings, telemetry)
    memory = WorkerMemory(
        users_cap=settings.memory_users,
        bytes_cap=settings.memory_users_bytes,
        pending_cap=settings.pending_cap,
        recent_cap=settings.recent_cap,
        seen_cap=settings.seen_cap,
        purchases=settings.purchase_types,
    )
    pictures = open_pictures(settings.shop)
    policies = PolicyKeeper(store, settings, telemetry)
    uploads = KeptPictures(settings.home / "pictures", most_bytes=settings.kept_pictures_bytes)
    shelf = ItemShelf(store, restore=settings.restore, pictures=None if url is None else uploads)
    kept = None if url is None else KeptItems(settings.home / "items.jsonl", masked(url))
    keeper = ItemKeeper(shelf, CatalogMaker(shelf, pictures, telemetry, policies.prepare), telemetry, kept=kept)
    settings, recommender, release = _answering(settings, tracing, telemetry)
    watcher = Watcher(store, memory, keeper, settings, telemetry, recommender=recommender)
    policing = Policing(policies, watcher=watcher, items=keeper, store=store, settings=settings, telemetry=telemetry)
    impressions = ImpressionLog(store, telemetry, cap=settings.impressions_cap)
    engine = Engine(
        watcher=watcher,
        store=store,
        memory=memory,
        impressions=impressions,
        settings=settings,
        telemetry=telemetry,
        happened=policing.steerer.count_events,
    )
    searches = SearchEngine(engine, policing.steerer, settings)
    lists = ListEngine(engine, policing.steerer, Filters(policies))
    watcher.ahead = lists.ahead
    shadow = Shadow(
        store=store, current=watcher, keeper=keeper, policing=policing, settings=settings, telemetry=telemetry
    )
    probes = Probes(keeper, store, settings, telemetry)
    appeals = AppealKeeper(
        store,
        lambda: [live.recommender for live in (*keeper.open, *policing.others.open)],
        every_s=settings.appeal_every_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        log.info("service starts", **settings.shown())
        await policies.start()
        await watcher.start()
        await keeper.start()
        closing = asyncio.Event()
        async with asyncio.TaskGroup() as background:
            beside = (
                Restorer(store, watcher, settings, telemetry),
                HistoryWatch(store, settings, telemetry),
                Eraser(store, every_s=settings.erase_every_s),
            )
            for one in (watcher, impressions, keeper, policing, probes, shadow, appeals, *beside):
                background.create_task(lasting(closing, one.run, telemetry))
            yield
            closing.set()
        await lasting(closing, lambda _: watcher.look(), telemetry)  # once, as it is closing
        await lasting(closing, lambda _: impressions.write(), telemetry)
        if memory.n_pending or len(impressions):
            log.error("lost, as redis is away", events=memory.n_pending, impressions=len(impressions))
        searches.close()
        release()
        await store.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours are in `telemetry.py` and `tracing.py`
        middleware=[*_traced(tracing), *_middleware(settings, store, telemetry)],
        exception_handlers=_handlers(),
    )
    state: Any = app.state
    state.search_engine, state.lists, state.shadow, state.shelf = searches, lists, shadow, shelf
    state.engine, state.store, state.memory, state.watcher = engine, store, memory, watcher
    state.telemetry, state.impressions, state.pictures, state.policies = telemetry, impressions, pictures, policies
    state.desk, state.policy_desk = (
        ItemDesk(engine, shelf, keeper, max_pixels=settings.search_max_pixels),
        PolicyDesk(engine, policing),
    )
    app.openapi = partial(_openapi, app, _add_routes(app), settings)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI, hot_documented: list[BaseRoute], settings: Settings) -> dict[str, Any]:
    if app.openapi_schema is None:
        described = get_openapi(
            title=TITLE, version=VERSION, description=DESCRIPTION, routes=[*hot_documented, *app.routes]
        )
        described = with_limits(described, settings)
        app.openapi_schema = described if settings.keys is None else with_keys(described)
    return app.openapi_schema


def _add_routes(app: FastAPI) -> list[BaseRoute]:
    """Add every route; the descriptions of those that read their requests by hand."""
    by_hand = (items, stock, users, recommend, search, events, policy_routes)
    app.router.routes.extend([*(route for module in by_hand for route in module.hot), *pages.pages()])
    for module in (items, users, images, policy_routes, health):
        app.router.routes.extend(module.router.routes)
    return [route for module in by_hand for route in module.documented.routes]


def _answering(
    settings: Settings, tracing: Tracing | None, telemetry: Telemetry
) -> tuple[Settings, Callable[..., BundleRecommender], Callable[[], None]]:
    """The settings that follow, what makes recommenders, and what lets go of what they hold."""
    kind = BundleRecommender if tracing is None else tracing.recommender
    if settings.vectors == "redis" and settings.redis_url is None:
        log.warning("vectors are searched in the process", why="there is no redis")
    if settings.vectors == "process" or settings.redis_url is None:
        return settings, kind, lambda: None
    vectors = StoredVectors(settings, failed=telemetry.redis_failures.inc)
    aside = settings.model_copy(update={"thread_above_items": -1})  # who waits for Redis waits in a thread
    return aside, vectors.recommenders(kind), vectors.close


def _tracing(settings: Settings) -> Tracing | None:
    """What traces, where it is asked for."""
    if settings.traces_to is None:
        return None
    try:
        from serving.tracing import Tracing
    except ImportError as error:
        raise InputError("RECSYS_TRACES_TO needs OpenTelemetry: pip install 'recsys[otel]'") from error
    return Tracing(settings)


def _traced(tracing: Tracing | None) -> list[Middleware]:
    return [] if tracing is None else [Middleware(tracing.layer)]


def _middleware(settings: Settings, store: Store, telemetry: Telemetry) -> list[Middleware]:
    """What a request passes through on its way in, outermost first."""
    layers = [
        Middleware(
            Shell,
            telemetry=telemetry,
            max_body_bytes=settings.max_body_bytes,
            larger=larger_bodies(settings),
            log_requests=settings.log_requests,
        )
    ]
    if settings.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
                expose_headers=["x-request-id", "retry-after"],
            )
        )
    if settings.keys is not None:
        layers.append(Middleware(Gate, ring=KeyRing(settings.keys), store=store, telemetry=telemetry))
    layers.append(Middleware(Express, routes=[*items.lists, *users.lists]))
    return layers


def _handlers() -> dict[int | type[Exception], Any]:
    async def on_problem(_: Request, error: ProblemError) -> Response:
        return error.response()

    async def on_unknown_item(_: Request, error: UnknownItemError) -> Response:
        return unknown_item(str(error))

    async def on_not_ready(_: Request, __: NotReadyError) -> Response:
        return problem(503, "not-ready", "no bundle is open yet: publish one", headers={"retry-after": "5"})

    async def on_cannot_search(_: Request, error: CannotSearch) -> Response:
        return problem(409, "cannot-search", str(error))

    async def on_bad_query(_: Request, error: BadQuery) -> Response:
        errors = [{"place": f"body.{error.place}", "rule": error.rule, "value": str(error.value)[:80]}]
        return problem(422, "invalid-request", f"body.{error}", errors=errors)

    async def on_store_down(_: Request, error: StoreDownError) -> Response:
        refused = isinstance(error, StoreRefusedError)
        detail = "this needs Redis, which " + ("takes no writes: it is full, or a replica" if refused else "is away")
        return problem(503, "store-down", detail, headers={"retry-after": "2"})

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [
            {
                "place": ".".join(str(part) for part in one["loc"]),
                "rule": "unknown query parameter"
                if one["type"] == "extra_forbidden"
                else one["msg"].removeprefix("Value error, "),
                "value": str(one.get("input"))[:80],
            }
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['place']}: {one['rule']}" for one in errors)
        return problem(422, "invalid-request", detail, errors=errors)

    async def on_http(request: Request, error: HTTPException) -> Response:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == 405:
            partly = (route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL)
            headers["allow"] = ", ".join(sorted({method for route in partly for method in route.methods}))
        return problem(error.status_code, None, str(error.detail), headers=headers)

    return {
        ProblemError: on_problem,
        UnknownItemError: on_unknown_item,
        NotReadyError: on_not_ready,
        StoreDownError: on_store_down,
        CannotSearch: on_cannot_search,
        BadQuery: on_bad_query,
        RequestValidationError: on_invalid,
        HTTPException: on_http,
    }
