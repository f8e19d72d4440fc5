"""What shoppers are shown and click, as it lies in the streams; and a worker that counts it."""

from __future__ import annotations

import threading
from typing import Any

import orjson
from redis import Redis

from serving.events import Event
from serving.keys import Keys
from serving.nearline.attribution import FIELDS, GROUP, Attribution, attribute
from serving.nearline.group import Batch, StreamGroup

KEYS = Keys()


def show(client: Redis, answer: str, items: str, *, at: float = 100.0, arms: dict[str, str] | None = None) -> None:
    slots = {"items": list(items), "sources": ["popular"] * len(items), "propensities": [1.0] * len(items)}
    arms = {"test": "a"} if arms is None else arms
    fields: dict[Any, Any] = {
        "recommendation_id": answer,
        "timestamp": repr(at),
        "arms": orjson.dumps(arms),
        "slots": orjson.dumps(slots),
    }
    client.xadd(KEYS.impressions, fields)


def click(client: Redis, answer: str | None, item: str, *, at: float = 110.0, kind: str = "click") -> None:
    fields: dict[Any, Any] = dict(Event(f"{answer}{item}{at}", "u", item, kind, at, answer).fields())
    client.xadd(KEYS.events, fields)


def run(client: Redis, **given: Any) -> None:
    attribute(client, worker="w", stop=threading.Event(), once=True, window_s=60.0, **given)


def counted(client: Redis, experiment: str = "test", arm: str = "a") -> dict[str, int]:
    found: Any = client.hgetall(KEYS.attributed(experiment, arm))
    return {name: int(found.get(name.encode(), 0)) for name in FIELDS}


def count_until_killed(client: Redis, counting: Attribution) -> None:
    """Answers are counted twice over, and a click that is never acknowledged."""
    groups = [
        StreamGroup(client, stream, group=GROUP, worker="w", size=10, abandoned_after_s=60.0)
        for stream in (KEYS.impressions, KEYS.events)
    ]
    batches = []
    for group in groups:
        group.join()
        batches.append(next(group.batches()))
    counting.answers(groups[0], batches[0])
    counting.answers(groups[0], batches[0])  # another worker took it over that was thought dead
    counting._count_click(event_of(batches[1]))  # counted, then killed: never acknowledged


def event_of(batch: Batch) -> dict[str, Any]:
    fields = {name: value.decode() for name, value in batch.entries[0][1].items()}
    return {**fields, "timestamp": float(fields["timestamp"])}
