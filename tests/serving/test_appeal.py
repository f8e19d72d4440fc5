"""What the near-line worker counted of items reaches the ranker of a service, and no request waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import Counts, appeal, prior_of
from recsys.bundle import Bundle
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import COUNTED
from serving.nearline.attribution import attribute


def by_ctr() -> LinearRanker:
    weights = np.array([float(name == "ctr") for name in FEATURES], dtype=np.float32)
    return LinearRanker(np.zeros_like(weights), np.ones_like(weights), weights, {})


def test_what_is_clicked_rises_in_every_feed_within_a_look(
    make_bundle: Callable[..., Bundle],
    redis_server: Any,
    publisher: Any,
    start_service: Callable[..., Any],
    eventually: Callable[..., None],
) -> None:
    bundle = make_bundle(np.array([[1.0, 0], [0.9, 0], [0.8, 0], [0.7, 0]]), ranker=by_ctr())
    publisher.publish(bundle)
    service = start_service(bundle=bundle.path, redis_url=redis_server.url, appeal_every_s=0.05)
    event = {"event_id": "e", "user_id": "ann", "item_id": "i0", "event_type": "view", "timestamp": time.time()}
    assert service.post(event).status_code < 300
    eventually(lambda: service.feed_ids("ann", 3)[0] == "i1")  # nothing is counted: all are alike, rows decide
    now = time.time()
    clicks, looks = np.array([1.0, 2.0, 30.0, 0.0]), np.array([50.0, 50.0, 50.0, 50.0])
    at = np.full(4, now - 10)
    items = bundle.items
    counters = CounterHistory(
        items,
        np.arange(4),
        at,
        at,
        clicks,
        looks,
        Examination({}),
        0.0,
        1e6,
        60.0,
        now - 10,
    )
    with redis_server.client() as client:
        attribute(client, worker="w", stop=threading.Event(), once=True, counters=counters)
    recommender = service.app.state.engine.live.recommender
    eventually(lambda: np.isfinite(recommender.standing.columns[:, 0]).all())
    counted = Counts(clicks, looks, looks)
    np.testing.assert_allclose(recommender.standing.columns[:, COUNTED], appeal(counted, prior_of(counted)), rtol=1e-2)
    viewed = {"event_id": "e2", "user_id": "bob", "item_id": "i0", "event_type": "view", "timestamp": now}
    assert service.post(viewed).status_code < 300
    assert service.feed_ids("bob", 3) == ["i2", "i1", "i3"]
    answer = service.get("/v1/users/bob/feed", k=2, split="true").json()["recommendations"]
    assert answer[0]["split"]["ctr"] > 1
    # a new price makes the catalog anew, and what is known of the items goes on holding
    assert service.say("PATCH", "i3", {"price": 3.0}).status_code == 200
    renewed = service.app.state.engine.live.recommender
    assert renewed is not recommender
    np.testing.assert_allclose(renewed.standing.columns[:, 0], recommender.standing.columns[:, 0], rtol=1e-4)
