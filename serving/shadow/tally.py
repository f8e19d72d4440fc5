"""What the comparisons of a shadowed version add up to, over all workers: sums in Redis, and what they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.shadow.comparison import Comparison
from serving.telemetry import LATENCY_BUCKETS
from serving.versions import SIDES

OUTCOMES = ("compared", "failed", "dropped", "other")
"""Compared; the shadow raised or took too long; not taken up as too many waited; answered by an arm's own model."""


def outcome(surface: str, which: str) -> dict[str, float]:
    """The sums that one request without a comparison adds to."""
    return {f"{surface}|{which}": 1.0}


def sums(surface: str, found: Comparison, *, live_s: float, shadow_s: float) -> dict[str, float]:
    """The sums that one comparison adds to, by field of the tally."""
    added = {f"{surface}|compared": 1.0}
    for name, value in (("overlap", found.overlap), ("correlation", found.correlation)):
        if not math.isnan(value):
            added |= {f"{surface}|{name}": value, f"{surface}|{name}_n": 1.0}
    for side, items, seconds in (("live", found.live, live_s), ("shadow", found.shadow, shadow_s)):
        added[f"{surface}|{side}|empty"] = float(not items)
        added[f"{surface}|{side}|seconds"] = seconds
        within = next((bucket for bucket in LATENCY_BUCKETS if seconds <= bucket), math.inf)
        added[f"{surface}|{side}|le|{within:g}"] = 1.0
    return added


@dataclass(frozen=True)
class Side:
    """One version's answers on one surface; seconds are NaN where there were none."""

    empty: int
    mean_s: float
    p50_s: float
    p95_s: float


@dataclass(frozen=True)
class Surface:
    """How two versions compare on one surface.

    Args:
        requests: by `OUTCOMES`.
        overlap: mean share of slots that both fill alike, whatever the order; NaN without comparisons.
        correlation: mean rank correlation of what both show, over the answers that share two items.
        live, shadow: each version's own figures. Of a shadow the time is that of an answer made in the background.
    """

    requests: Mapping[str, int]
    overlap: float
    correlation: float
    live: Side
    shadow: Side


def read(fields: Mapping[bytes, bytes]) -> dict[str, Surface]:
    """From the tally's hash, by surface."""
    known: Counter[str] = Counter()
    for name, value in fields.items():
        known[name.decode()] = float(value)  # type: ignore[assignment] # sums, of which some are not whole
    surfaces = sorted({name.split("|")[0] for name in known})
    return {surface: _surface(known, surface) for surface in surfaces}


def _surface(known: Mapping[str, Any], surface: str) -> Surface:
    live, shadow = (_side(known, f"{surface}|{side}") for side in SIDES)
    return Surface(
        {which: int(known[f"{surface}|{which}"]) for which in OUTCOMES},
        _mean(known[f"{surface}|overlap"], known[f"{surface}|overlap_n"]),
        _mean(known[f"{surface}|correlation"], known[f"{surface}|correlation_n"]),
        live,
        shadow,
    )


def _side(known: Mapping[str, Any], prefix: str) -> Side:
    counts = {bucket: known[f"{prefix}|le|{bucket:g}"] for bucket in (*LATENCY_BUCKETS, math.inf)}
    n = sum(counts.values())
    return Side(
        int(known[f"{prefix}|empty"]),
        _mean(known[f"{prefix}|seconds"], n),
        _quantile(counts, 0.5),
        _quantile(counts, 0.95),
    )


def _quantile(counts: Mapping[float, float], share: float) -> float:
    """The bound of the bucket that holds a quantile; NaN of nothing."""
    wanted, passed = share * sum(counts.values()), 0.0
    for bound, n in counts.items():
        passed += n
        if n and passed >= wanted:
            return bound
    return math.nan


def _mean(total: float, n: float) -> float:
    return total / n if n else math.nan
