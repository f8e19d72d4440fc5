"""What the service tells about itself: Prometheus metrics and structured request logs."""

from __future__ import annotations

import os
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Telemetry:
    """The metrics of one application.

    With several workers, set `PROMETHEUS_MULTIPROC_DIR` before they start: any of them then reports the sum of all.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recsys_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self.latency = Histogram(
            "recsys_request_seconds",
            "Time from request to answer.",
            ("route",),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.answers = Counter(
            "recsys_answers",
            "Lists answered, by surface, tier of the first slot, and whether Redis or the bundle held them.",
            ("surface", "source", "store"),
            registry=self.registry,
        )
        self.events = Counter(
            "recsys_events", "Events by outcome: accepted, duplicate, refused.", ("outcome",), registry=self.registry
        )
        self.refused = Counter(
            "recsys_requests_refused",
            "Requests refused at the gate: no-valid-key, scope-missing, rate-limit.",
            ("why",),
            registry=self.registry,
        )
        self.redis_failures = Counter(
            "recsys_redis_failures", "Calls to Redis that failed or timed out.", registry=self.registry
        )
        self.redis_refusals = Counter(
            "recsys_redis_refusals",
            "Writes that Redis refused, as it is full or only a replica.",
            registry=self.registry,
        )
        self.kept_items = Counter(
            "recsys_kept_items", "Items shown that a worker still knew and did not fetch.", registry=self.registry
        )
        self.kept_answers = Counter(
            "recsys_kept_answers",
            "Lists that a worker still knew, made of the same published bytes.",
            registry=self.registry,
        )
        self.bundle_fallbacks = Counter(
            "recsys_bundle_fallbacks",
            "Answers taken from the bundle, by why: Redis is down, or does not hold the version's keys.",
            ("surface", "reason"),
            registry=self.registry,
        )
        self.pending_replayed = Counter(
            "recsys_pending_events_replayed", "Held events applied after Redis came back.", registry=self.registry
        )
        self.pending_dropped = Counter(
            "recsys_pending_events_dropped", "Held events lost as too many were waiting.", registry=self.registry
        )
        self.impressions_dropped = Counter(
            "recsys_impressions_dropped", "Answers whose impressions were not logged.", registry=self.registry
        )
        self.version_switches = Counter(
            "recsys_version_switches", "Times a worker moved to another version.", registry=self.registry
        )
        self.version_failures = Counter(
            "recsys_version_failures", "Times the current version's bundle could not be opened.", registry=self.registry
        )
        self.items_changed = Counter(
            "recsys_items_changed", "Changes of items that a worker took in.", registry=self.registry
        )
        self.items_unplaced = Counter(
            "recsys_items_unplaced", "New items that the current bundle cannot place.", registry=self.registry
        )
        self.policy_changes = Counter(
            "recsys_policy_changes", "Times a worker took over other rules or experiments.", registry=self.registry
        )
        self.policy_failures = Counter(
            "recsys_policy_failures",
            "Rules, experiments or models of arms that could not be used.",
            registry=self.registry,
        )
        self.arms = Counter(
            "recsys_arm_answers",
            "Answers by experiment and arm, by whether they were as long as asked for.",
            ("experiment", "arm", "full"),
            registry=self.registry,
        )
        self.experiments_stopped = Counter(
            "recsys_experiments_stopped",
            "Experiments stopped by a guard-rail.",
            ("experiment",),
            registry=self.registry,
        )
        self.redis_up = Gauge(
            "recsys_redis_up",
            "1 while Redis answers; the least of all workers.",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.pending = Gauge(
            "recsys_pending_events",
            "Events held in memory until Redis is back.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            gathered = CollectorRegistry()
            MultiProcessCollector(gathered)  # type: ignore[no-untyped-call]
            return generate_latest(gathered)
        return generate_latest(self.registry)


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
