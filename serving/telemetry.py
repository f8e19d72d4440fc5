"""What the service tells about itself: Prometheus metrics and structured request logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Generic, Literal, TypeVar, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


SHARE_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LAG_BUCKETS = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
TIER: ContextVar[str] = ContextVar("tier", default="none")
"""What found the first slot of the list that the request at hand is answered with."""
M = TypeVar("M", bound=Counter | Gauge | Histogram)


class Of(Generic[M]):
    """A metric of one tenant.

    Args:
        metric: its first label is the tenant.
        tenant: its name.
    """

    def __init__(self, metric: M, tenant: str) -> None:
        self._metric = metric
        self._tenant = tenant
        self._known: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The metric with these values of its other labels."""
        found = self._known.get(values)
        if found is None:  # the library's own way takes a lock, and longer than counting does
            found = self._known[values] = cast("M", self._metric.labels(self._tenant, *values))
        return found

    def from_0(self, *values: str) -> Of[M]:
        """This metric, which tells 0 for these values of its one other label until something happens.

        Prometheus sees no increase in a series that begins with 1.
        """
        for value in values:
            self.labels(value)
        return self


class Telemetry:
    """The metrics of one application.

    With several workers, set `PROMETHEUS_MULTIPROC_DIR` before they start: any of them then reports the sum of all.

    Args:
        tenant: whose application it is, the first label of every metric; "" where there is one shop.
    """

    def __init__(self, tenant: str = "") -> None:
        self.registry = CollectorRegistry()
        self._tenant = tenant
        self.requests = self._counter("recsys_requests", "Requests answered.", "route", "method", "status")
        self.latency = self._histogram(
            "recsys_request_seconds",
            "Time from request to answer, by route and the tier of a list's first slot.",
            LATENCY_BUCKETS,
            "route",
            "tier",
        )
        self.answers = self._counter(
            "recsys_answers",
            "Lists answered, by surface, tier of the first slot, and whether Redis or the bundle held them.",
            "surface",
            "source",
            "store",
        )
        self.events = self._counter("recsys_events", "Events by outcome: accepted, duplicate, refused.", "outcome")
        self.refused = self._counter(
            "recsys_requests_refused", "Requests refused at the gate: no-valid-key, scope-missing, rate-limit.", "why"
        )
        self.rates_alone = self._counter(
            "recsys_rates_alone",
            "Requests of keys with a rate that a worker held to a bucket of its own, as Redis did not answer.",
        ).labels()
        self.redis_failures = self._counter(
            "recsys_redis_failures", "Calls to Redis that failed or timed out."
        ).labels()
        self.redis_unheard = self._counter(
            "recsys_redis_unheard",
            "Calls to Redis that timed out while the worker itself, busy, listened less than half of the time.",
        ).labels()
        self.redis_refusals = self._counter(
            "recsys_redis_refusals", "Writes that Redis refused, as it is full or only a replica."
        ).labels()
        self.cache = self._counter(
            "recsys_cache",
            "What a worker had at hand (hit) or not (miss): lists as sent (answers), items as shown (items), values of "
            "Redis that another request of the same moment asked for, too (reads).",
            "cache",
            "outcome",
        )
        self.index_wanted = self._counter(
            "recsys_index_probe_wanted", "Best items by exact search for sampled queries of the approximate index."
        ).labels()
        self.index_found = self._counter(
            "recsys_index_probe_found", "Those of them that the approximate index found."
        ).labels()
        self.event_lag = self._histogram(
            "recsys_event_lag_seconds",
            "Time from what a shopper did to its effect on their lists, of events that were new.",
            LAG_BUCKETS,
        ).labels()
        self.stream_waiting = self._gauge(
            "recsys_stream_waiting", "Entries of a stream not yet handed to a group.", "livemax", "stream", "group"
        )
        self.stream_pending = self._gauge(
            "recsys_stream_pending", "Entries handed out and not yet dealt with.", "livemax", "stream", "group"
        )
        self.stream_lag = self._gauge(
            "recsys_stream_lag_seconds",
            "Age of the oldest entry that a group has not dealt with; 0 where it has dealt with all.",
            "livemax",
            "stream",
            "group",
        )
        self.bundle_fallbacks = self._counter(
            "recsys_bundle_fallbacks",
            "Answers taken from the bundle, by why: Redis is down, or does not hold the version's keys.",
            "surface",
            "reason",
        )
        self.pending_replayed = self._counter(
            "recsys_pending_events_replayed", "Held events applied after Redis came back."
        ).labels()
        self.pending_dropped = self._counter(
            "recsys_pending_events_dropped", "Held events lost as too many were waiting."
        ).labels()
        self.impressions_dropped = self._counter(
            "recsys_impressions_dropped", "Answers whose impressions were not logged."
        ).labels()
        self.background_failures = self._counter(
            "recsys_background_failures", "Times work beside requests failed as nobody foresaw, and was begun anew."
        ).labels()
        self.version_switches = self._counter(
            "recsys_version_switches", "Times a worker moved to another version."
        ).labels()
        self.version_failures = self._counter(
            "recsys_version_failures", "Times the current version's bundle could not be opened."
        ).labels()
        self.restores = self._counter(
            "recsys_restores",
            "Publishes of a version that Redis had lost, as started by a worker: started, done, failed.",
            "outcome",
        ).from_0("started", "done", "failed")
        self.items_changed = self._counter("recsys_items_changed", "Changes of items that a worker took in.").labels()
        self.items_restored = self._counter(
            "recsys_items_restored", "Changed items that a worker put back as Redis had lost them."
        ).labels()
        self.pictures_restored = self._counter(
            "recsys_pictures_restored", "Uploaded pictures that a worker put back as Redis had lost them."
        ).labels()
        self.history_in_step = self._gauge(
            "recsys_history_in_step",
            "0 while Redis has lost users' recent events and counters, else 1; the least of all workers.",
            "livemin",
        ).labels()
        self.history_restored = self._counter(
            "recsys_history_restored",
            "What was put back of the archive that Redis had lost: events of users, arms (their counters).",
            "what",
        ).from_0("events", "arms")
        self.history_lost = self._counter(
            "recsys_history_lost", "Times that Redis had lost users' recent events, and they were not put back."
        ).labels()
        self.items_unplaced = self._counter(
            "recsys_items_unplaced", "New items that the current bundle cannot place."
        ).labels()
        self.policy_changes = self._counter(
            "recsys_policy_changes", "Times a worker took over other rules or experiments."
        ).labels()
        self.policy_failures = self._counter(
            "recsys_policy_failures", "Rules, experiments or models of arms that could not be used."
        ).labels()
        self.policies_restored = self._counter(
            "recsys_policies_restored",
            "What a worker put back that Redis had lost: rules, experiments, stopped (by guard-rails).",
            "what",
        ).from_0("rules", "experiments", "stopped")
        self.policies_in_step = self._gauge(
            "recsys_policies_in_step",
            "0 while Redis has lost the rules or experiments that hold, else 1; the least of all workers.",
            "livemin",
        ).labels()
        self.arms = self._counter(
            "recsys_arm_answers",
            "Answers by experiment and arm, by whether they were as long as asked for.",
            "experiment",
            "arm",
            "full",
        )
        self.experiments_stopped = self._counter(
            "recsys_experiments_stopped", "Experiments stopped by a guard-rail.", "experiment"
        )
        self.attributed = self._gauge(
            "recsys_arm_attributed",
            "What arms showed and which clicks came of just that: answers, slots, clicked_answers, clicks, late.",
            "livemax",
            "experiment",
            "arm",
            "count",
        )
        self.shadow = self._counter(
            "recsys_shadow_requests",
            "Requests that a shadowed version was to answer, too: compared, failed, dropped as too many waited, other "
            "(an arm's own model had answered).",
            "surface",
            "outcome",
        )
        self.shadow_overlap = self._histogram(
            "recsys_shadow_overlap", "Share of the slots that both versions fill alike.", SHARE_BUCKETS, "surface"
        )
        self.shadow_latency = self._histogram(
            "recsys_shadow_seconds", "Time a shadowed version took for an answer.", LATENCY_BUCKETS, "surface"
        )
        self.redis_up = self._gauge(
            "recsys_redis_up", "1 while Redis answers; the least of all workers.", "livemin"
        ).labels()
        self.pending = self._gauge(
            "recsys_pending_events", "Events held in memory until Redis is back.", "livesum"
        ).labels()

    def exposition(self) -> bytes:
        """The metrics of this tenant in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        gathered, own = CollectorRegistry(), CollectorRegistry()
        MultiProcessCollector(gathered)  # type: ignore[no-untyped-call]
        own.register(_OfTenant(gathered, self._tenant))
        return generate_latest(own)

    def _counter(self, name: str, said: str, *labels: str) -> Of[Counter]:
        return Of(Counter(name, said, ("tenant", *labels), registry=self.registry), self._tenant)

    def _histogram(self, name: str, said: str, buckets: Sequence[float], *labels: str) -> Of[Histogram]:
        made = Histogram(name, said, ("tenant", *labels), buckets=buckets, registry=self.registry)
        return Of(made, self._tenant)

    def _gauge(
        self, name: str, said: str, of_workers: Literal["livemin", "livemax", "livesum"], *labels: str
    ) -> Of[Gauge]:
        made = Gauge(name, said, ("tenant", *labels), registry=self.registry, multiprocess_mode=of_workers)
        return Of(made, self._tenant)


class _OfTenant(Collector):
    """What all workers gathered, of one tenant alone."""

    def __init__(self, gathered: CollectorRegistry, tenant: str) -> None:
        self._gathered = gathered
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        """The metrics that have something of this tenant."""
        for metric in self._gathered.collect():
            metric.samples = [one for one in metric.samples if one.labels.get("tenant", "") == self._tenant]
            if metric.samples:
                yield metric


def configure_logging() -> None:
    """JSON lines on standard error, one an event."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
