"""Traces by OpenTelemetry, where they are asked for: a span a request, and within it Redis, candidates, ranking, rules,
slots and reasons.

Nothing of it is imported unless `RECSYS_TRACES_TO` names a collector; then the store, the recommender and the outermost
layer of the application are the traced ones below, which do the same and tell how long it took.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import redis.asyncio
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.request import Request
from recsys.pipeline.retrieval import Sought
from recsys.pipeline.stage import Stage
from recsys.recommender import BundleRecommender
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import TIER, Telemetry

T = TypeVar("T")
PATIENCE_S = 2.0
"""A collector that does not take spans in this time loses them."""


def exporter_of(settings: Settings) -> SpanExporter:
    """Where spans go."""
    return OTLPSpanExporter(endpoint=settings.traces_to, timeout=PATIENCE_S)


class Tracing:
    """The traced parts of one application.

    Args:
        settings: the collector, and the share of requests that begin a trace here; one that arrives with a
            `traceparent` is traced as that says.
    """

    def __init__(self, settings: Settings) -> None:
        about = Resource.create({"service.name": "recsys", "recsys.tenant": settings.tenant})
        sampler = ParentBased(TraceIdRatioBased(settings.traces_share))
        self.provider = TracerProvider(resource=about, sampler=sampler)
        self.provider.add_span_processor(BatchSpanProcessor(exporter_of(settings)))
        self.tracer: Tracer = self.provider.get_tracer("recsys")
        own = {"tracer": self.tracer}
        self.recommender: type[BundleRecommender] = type("TracedRecommender", (TracedRecommender,), own)

    def store(self, url: str | None, settings: Settings, telemetry: Telemetry) -> Store:
        """As `Store`."""
        return TracedStore(url, settings, telemetry, self.tracer)

    def layer(self, app: ASGIApp) -> ASGIApp:
        """The outermost layer of an application."""
        return Traced(app, tracer=self.tracer)

    def close(self) -> None:
        """Send what is held."""
        self.provider.shutdown()


class Traced:
    """The outermost layer: one span a request, named by its route."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = propagate.extract(dict(Headers(scope=scope)))
        with self._tracer.start_as_current_span(scope["method"], parent, kind=SpanKind.SERVER) as span:

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._app(scope, receive, tell)
            finally:
                matched = scope.get("route")
                route = str(getattr(matched, "path_format", None) or getattr(matched, "path", "unmatched"))
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.request.method": scope["method"], "http.route": route})
                span.set_attribute("recsys.tier", TIER.get())


class TracedStore(Store):
    """A store that tells of every conversation with Redis."""

    def __init__(self, url: str | None, settings: Settings, telemetry: Telemetry, tracer: Tracer) -> None:
        super().__init__(url, settings, telemetry)
        self._tracer = tracer

    async def asked(self, ask: Callable[[redis.asyncio.Redis], Awaitable[T]], *, probing: bool = False) -> T:
        """As `Store.asked`; probes are no part of a request."""
        if probing:
            return await super().asked(ask, probing=True)
        with self._tracer.start_as_current_span("redis", kind=SpanKind.CLIENT):
            return await super().asked(ask)


class TracedRecommender(BundleRecommender):
    """A recommender that tells of every step."""

    tracer: ClassVar[Tracer]

    def ranked_all(
        self,
        moments: Sequence[Moment],
        stages: Sequence[Sequence[Stage]],
        *,
        told: Callable[[str, Ranked], None] | None = None,
    ) -> list[Ranked]:
        """As `BundleRecommender.ranked_all`."""
        traced = [[TracedStage(stage, self.tracer) for stage in its_stages] for its_stages in stages]
        return super().ranked_all(moments, traced, told=told)

    def moment(self, request: Request) -> Moment:
        """As `BundleRecommender.moment`."""
        with self.tracer.start_as_current_span("moment"):
            return super().moment(request)

    def reasons_all(self, moments: Sequence[Moment], ranked: Sequence[Ranked]) -> list[list[tuple[str, ...]]]:
        """As `BundleRecommender.reasons_all`."""
        with self.tracer.start_as_current_span("reasons"):
            return super().reasons_all(moments, ranked)

    def candidates(self, moments: Sequence[Moment], n: Sequence[int]) -> list[Ranked]:
        """As `BundleRecommender.candidates`."""
        with self.tracer.start_as_current_span("candidates") as span:
            found = super().candidates(moments, n)
            span.set_attribute("recsys.candidates", sum(map(len, found)))
            return found

    def _learned(self, sought: Sequence[Sought]) -> list[Ranked]:
        with self.tracer.start_as_current_span("ranking"):
            return super()._learned(sought)


@dataclass(frozen=True)
class TracedStage:
    """A stage that tells how long it took."""

    stage: Stage
    tracer: Tracer

    @property
    def name(self) -> str:
        """As `Stage.name`."""
        return self.stage.name

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """As `Stage.apply`."""
        with self.tracer.start_as_current_span(self.name):
            return self.stage.apply(ranked, moment)
