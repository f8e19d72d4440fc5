"""What the service tells of itself is what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest

from recsys.index import ApproximateIndex
from serving.keys import Keys
from serving.nearline.collect import collect
from serving.probes import Probes
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry


def test_latency_is_told_by_route_and_by_the_tier_of_the_answer(service: Any) -> None:
    service.get("/v1/items/i3/similar")
    service.feed("u1")
    service.feed("u1", 5)
    service.feed("a stranger")
    service.get("/v1/items/i3")
    name = "recsys_request_seconds_count"
    feed = "/v1/users/{user_id}/feed"
    assert service.metric(name, route="/v1/items/{item_id}/similar", tier="published") == 1
    assert service.metric(name, route=feed, tier="published") == 2
    assert service.metric(name, route=feed, tier="popular") == 1
    assert service.metric(name, route="/v1/items/{item_id}", tier="none") == 1


def test_caches_tell_what_they_had_and_what_not(service: Any) -> None:
    for _ in range(3):
        service.get("/v1/items/i3/similar", k=5)
    assert service.metric("recsys_cache_total", cache="answers", outcome="miss") == 1
    assert service.metric("recsys_cache_total", cache="answers", outcome="hit") == 2
    assert service.metric("recsys_cache_total", cache="items", outcome="miss") == 5
    assert service.metric("recsys_cache_total", cache="items", outcome="hit") == 0
    service.get("/v1/items/i3/similar", k=4)  # another list of items that were shown before
    assert service.metric("recsys_cache_total", cache="items", outcome="hit") == 4
    fetched = service.metric("recsys_cache_total", cache="reads", outcome="miss")
    assert fetched == 4 + 5  # the list each time, its items once


def test_an_event_s_lag_runs_from_what_happened_to_its_effect_and_counts_an_event_once(service: Any) -> None:
    event = {"user_id": "u1", "item_id": "i3", "event_type": "view", "event_id": "a", "timestamp": time.time() - 120}
    service.post(event, event)
    service.post(event)
    service.post({**event, "event_id": "b", "timestamp": time.time()})
    assert service.metric("recsys_event_lag_seconds_count") == 2
    assert 120 <= service.metric("recsys_event_lag_seconds_sum") < 130
    assert service.metric("recsys_event_lag_seconds_bucket", le="60.0") == 1


def test_a_group_that_falls_behind_is_told_of_by_stream(
    start_service: Callable[..., Any], redis_server: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    service = start_service(bundle=small_bundle, redis_url=redis_server.url, probe_every_s=0.05)
    behind = {"stream": "events", "group": "archive"}
    with redis_server.client() as client:

        def gather() -> None:
            collect(client, tmp_path, worker="w", stop=threading.Event(), once=True)

        view = {"user_id": "u1", "item_id": "i3", "event_type": "view"}
        service.post(view)
        gather()
        eventually(lambda: 'stream="events"' in service.get("/metrics").text)
        eventually(lambda: service.metric("recsys_stream_lag_seconds", **behind) == 0)  # once looked at after it
        service.post(view, view)
        eventually(lambda: service.metric("recsys_stream_waiting", **behind) == 2)
        client.xreadgroup("archive", "w", {Keys().events: ">"}, count=1)
        eventually(lambda: service.metric("recsys_stream_pending", **behind) == 1)
        assert service.metric("recsys_stream_waiting", **behind) == 1
        eventually(lambda: service.metric("recsys_stream_lag_seconds", **behind) > 0.1)
        gather()
        eventually(lambda: service.metric("recsys_stream_lag_seconds", **behind) == 0)
        for left in ("pending", "waiting"):  # which are asked for a moment before the lag is
            eventually(lambda left=left: service.metric(f"recsys_stream_{left}", **behind) == 0)


@dataclass
class Open:
    """A catalog with an index and nothing else."""

    index: Any

    @property
    def live(self) -> Any:
        return SimpleNamespace(recommender=self)


@pytest.mark.parametrize("lists_looked_at", [1, 16])
def test_the_probe_counts_what_the_index_misses_of_a_shopper_s_query(lists_looked_at: int, run_apart: Any) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2000, 8)).astype(np.float32)
    searcher = faiss.index_factory(8, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    searcher.train(vectors)
    searcher.add(vectors)
    searcher.nprobe = lists_looked_at
    index, telemetry = ApproximateIndex(vectors, searcher), Telemetry()
    probes = Probes(Open(index), Store(None, Settings(), telemetry), Settings(), telemetry)  # type: ignore[arg-type]
    query = random.normal(size=8).astype(np.float32)
    run_apart(probes.index())  # nobody asked anything yet
    index.search(query, 10, np.zeros(2000, dtype=np.bool_))
    run_apart(probes.index())
    run_apart(probes.index())  # nobody asked anything since
    _, named = searcher.search(query[None], 264)
    wanted = set(np.argsort(-(vectors @ query))[:100].tolist())
    found = len(wanted & set(named[0].tolist()))
    told = telemetry.exposition().decode()
    assert 'recsys_index_probe_wanted_total{tenant=""} 100.0' in told
    assert f'recsys_index_probe_found_total{{tenant=""}} {float(found)}' in told
    assert found == 100 if lists_looked_at == 16 else 20 < found < 95
