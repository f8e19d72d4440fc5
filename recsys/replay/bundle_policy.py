"""A bundle as a policy: the recommender path that the service runs, asked at each request's own moment.

A request is answered from what was known when it came: the user's events before it, and the items as they were. The
bundle itself knows what it was trained on; whether that ended before the log began cannot be seen from here, and is
said.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from features.errors import InputError
from features.progress import bar
from recsys.bundle import Bundle
from recsys.exploration import place_weights
from recsys.replay.catalog_then import CatalogThen
from recsys.replay.known_then import KnownThen
from recsys.replay.log import Log
from recsys.replay.placed import PlacedLists
from recsys.replay.policy import ListPolicy, Policy

PLACES = 50
"""Candidates that take part where lists are drawn."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What a bundle answers to a log's requests.

    Args:
        policy: the answers.
        latency_ms: "p50" and "p99" of one answer on this machine.
        notes: what a reader must know.
    """

    policy: Policy
    latency_ms: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def bundle_folder(path: Path) -> Path | None:
    """The bundle in a folder or a run, None where there is none."""
    for folder in (path, path / "bundle"):
        if (folder / "manifest.json").is_file():
            return folder
    return None


def answer_log(
    name: str,
    bundle: Bundle,
    log: Log,
    *,
    temperature: float | None,
    known: KnownThen | None = None,
) -> Answered:
    """Ask a bundle every request of a log.

    Args:
        name: of the policy.
        bundle: what answers.
        log: the requests; those on an item's page ask for what is like it, the others for a feed.
        temperature: draw lists by place to the power of -1 / temperature; None shows the best.
        known: what was known when, and the rules that held; None where nothing is known beside the bundle.

    Raises:
        InputError: the log has no times where something was known by time, or it is of searches.
    """
    known = known or KnownThen()
    if known.by_time and not np.isfinite(log.timestamp).all():
        raise InputError(f"log {log.name} has no times: what was known at a request's moment cannot be looked up")
    if log.name.rpartition("/")[2] == "search":
        raise InputError(
            f"log {log.name} is of searches: their words are not logged, a bundle cannot answer them again"
        )
    catalog = CatalogThen(bundle, known.changes, known.rules, known.counters)
    of_log = np.append(log.items.idxs(bundle.items.ids), -1)
    starts = np.flatnonzero(np.diff(log.request_idx, prepend=log.request_idx[:1] - 1))
    n_slots = np.diff(np.append(starts, len(log)))
    first = int(log.request_idx[0])
    places = max(log.n_positions, PLACES if temperature is not None else 0)
    orders = np.full((int(log.request_idx[-1]) - first + 1, places), -1, dtype=np.int32)
    took = np.empty(len(starts))
    unknown_pages = longest = 0
    with bar(f"Asking {name}", total=len(starts)) as progress:
        for number, (row, slots) in enumerate(zip(starts.tolist(), n_slots.tolist(), strict=True)):
            begun = time.perf_counter()
            now = catalog.at(float(log.timestamp[row])) if known.by_time else catalog.at(-np.inf)
            request, stages = known.request(log, row, places if temperature is not None else slots, now)
            if request.page is not None and request.page not in bundle.items:
                unknown_pages += 1
                request = replace(request, page=None)
            ranked = now.recommender.ranked(now.recommender.moment(request), stages).rows[:places]
            orders[int(log.request_idx[row]) - first, : len(ranked)] = of_log[ranked]
            longest = max(longest, len(ranked))
            took[number] = time.perf_counter() - begun
            progress.advance()
    notes = [*_training_note(bundle, log), *_counters_note(bundle, known)]
    if known.rules is not None and known.changes is None:
        notes.append("rules see prices and attributes as the bundle has them: no dated changes were given (--changes)")
    if unknown_pages:
        notes.append(f"{unknown_pages} requests were on pages that the bundle does not know; they got a feed")
    latency = {f"p{percent}": round(1e3 * float(np.percentile(took, percent)), 3) for percent in (50, 99)}
    if temperature is None:
        items = orders[log.request_idx - first, np.minimum(log.position, places - 1)].astype(np.int64)
        return Answered(ListPolicy(name, len(log.items), items[:, None], np.ones((len(log), 1))), latency, tuple(notes))
    orders = orders[:, : max(log.n_positions, longest)]
    weights = place_weights(orders.shape[1], temperature)
    policy = PlacedLists(
        name, len(log.items), first_request=first, items=orders, weights=weights, n_slots=log.n_positions
    )
    return Answered(policy, latency, tuple(notes))


def _counters_note(bundle: Bundle, known: KnownThen) -> list[str]:
    """Whether the bundle goes by counters, and of which moment."""
    goes = bundle.ranker is not None and bundle.ranker.goes_by("ctr")
    if known.counters is not None and not goes:
        return ["the bundle's ranker does not go by counters: --ctr changes nothing"]
    if known.counters is None and goes:
        return ["the bundle's ranker goes by the counters it was made with, at every moment (--ctr: as they were then)"]
    return []


def _training_note(bundle: Bundle, log: Log) -> list[str]:
    """Whether the bundle may have been trained on what it is judged on."""
    made = datetime.fromisoformat(bundle.manifest.created).timestamp()
    begun = float(np.min(log.timestamp)) if len(log) else np.nan
    if made <= begun:
        return []
    return ["the bundle was made after the log began: if it was trained on this traffic, it knows the answers"]
