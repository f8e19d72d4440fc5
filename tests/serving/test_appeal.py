"""What the near-line worker counted of items reaches the ranker of a service, and no request waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory
from recsys.appeal.shrinkage import Counts, standing_by
from recsys.bundle import Bundle
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import COUNTED
from recsys.recommender import BundleRecommender
from serving.appeal import AppealKeeper
from serving.keys import Keys
from serving.nearline.appeal import PACKED, LiveCounting, field
from serving.nearline.attribution import attribute
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry


def by_ctr() -> LinearRanker:
    weights = np.array([float(name == "ctr") for name in FEATURES], dtype=np.float32)
    return LinearRanker(np.zeros_like(weights), np.ones_like(weights), weights, {})


def test_what_is_clicked_rises_in_every_feed_within_a_look(
    make_bundle: Callable[..., Bundle],
    redis_server: Any,
    publisher: Any,
    start_service: Callable[..., Any],
    eventually: Callable[..., None],
    *,
    make_counters: Callable[..., CounterHistory],
) -> None:
    bundle = make_bundle(np.array([[1.0, 0], [0.9, 0], [0.8, 0], [0.7, 0]]), ranker=by_ctr())
    publisher.publish(bundle)
    service = start_service(bundle=bundle.path, redis_url=redis_server.url, appeal_every_s=0.05)
    event = {"event_id": "e", "user_id": "ann", "item_id": "i0", "event_type": "view", "timestamp": time.time()}
    assert service.post(event).status_code < 300
    eventually(lambda: service.feed_ids("ann", 3)[0] == "i1")  # nothing is counted: all are alike, rows decide
    now = time.time()
    clicks, looks = np.array([1.0, 2.0, 30.0, 0.0]), np.array([50.0, 50.0, 50.0, 50.0])
    rows = [(f"i{row}", "", 0, now - 10, looks[row], clicks[row]) for row in range(4)]
    at_home = [(f"i{row}", "home", 0, now - 10, 50, 25 if row == 3 else 5) for row in range(4)]
    counters = make_counters([*rows, *at_home], half_life_s=1e6, window_s=0.0)
    with redis_server.client() as client:
        attribute(client, worker="w", stop=threading.Event(), once=True, counters=counters)
    recommender = service.app.state.engine.live.recommender
    eventually(lambda: np.isfinite(recommender.standing.columns[:, 0]).all())
    counts = counters.counts(now - 10, counters.examination(now))
    everywhere, scenarios = standing_by(counts, counters.scenarios, np.arange(4))
    np.testing.assert_allclose(recommender.standing.columns[:, COUNTED], everywhere, rtol=1e-2)
    np.testing.assert_allclose(recommender.standing.scenarios["home"], scenarios["home"], rtol=1e-2)
    viewed = {"event_id": "e2", "user_id": "bob", "item_id": "i0", "event_type": "view", "timestamp": now}
    assert service.post(viewed).status_code < 300
    best = np.argsort(-everywhere[:, 0])
    assert service.feed_ids("bob", 3) == [f"i{row}" for row in best if row != 0]
    assert best[0] == 2
    for scenario, row, told in (("", 2, everywhere), ("home", 3, scenarios["home"])):
        feed = service.get("/v1/users/bob/feed", k=3, scenario=scenario, split="true").json()["recommendations"]
        assert feed[0]["item"]["item_id"] == f"i{row}"
        assert feed[0]["split"]["ctr"] == pytest.approx(told[row, 0], rel=1e-2)
    # a new price makes the catalog anew, and what is known of the items goes on holding
    assert service.say("PATCH", "i3", {"price": 3.0}).status_code == 200
    renewed = service.app.state.engine.live.recommender
    assert renewed is not recommender
    np.testing.assert_allclose(renewed.standing.columns[:, 0], recommender.standing.columns[:, 0], rtol=1e-4)
    np.testing.assert_allclose(renewed.standing.scenarios["home"], recommender.standing.scenarios["home"], rtol=1e-4)


@pytest.mark.parametrize("since_ms", [1_000, 3_000])  # or goes on already from there
def test_counts_are_read_again_from_a_redis_that_stands_where_it_stood_earlier(
    since_ms: int, make_bundle: Callable[..., Bundle], redis_server: Any, run_apart: Any
) -> None:
    recommender = BundleRecommender(make_bundle(np.eye(2)))
    about = LiveCounting(Examination({}), ("",), half_life_s=1e9, until_s=0.0)
    found, told = list[Any](), list[Any]()

    async def story(client: Any) -> None:
        store = Store(redis_server.url, Settings(), Telemetry())
        store.mark_up()
        keeper = AppealKeeper(store, lambda: [recommender])
        client.set(Keys().appeal_about, about.dump())
        for n_clicks, *changed_ms in (
            (300, 2_000, 2_000),
            (100, 1_000, since_ms),
        ):  # a replica that was behind took over
            for row, clicks in enumerate((n_clicks, 200)):
                packed = np.array([(clicks, 1000, 1000, time.time())], dtype=PACKED).tobytes()
                client.hset(Keys().appeal, field("", f"i{row}"), packed)
                client.zadd(Keys().appeal_changed, {field("", f"i{row}"): changed_ms[row]})
            await keeper.look()
            found.append(recommender.standing.columns[:, COUNTED].copy())
            clicks, looks = np.array([[n_clicks, 200.0]]), np.full((1, 2), 1000.0)
            told.append(standing_by(Counts(clicks, looks, looks), ("",), np.arange(2))[0])
        await store.close()

    with redis_server.client() as client:
        run_apart(story(client))
    assert told[0][0, 0] > told[0][1, 0]
    assert told[1][0, 0] < told[1][1, 0]
    np.testing.assert_allclose(found, told, rtol=1e-4)


def test_counting_may_begin_with_nothing_and_a_scenario_that_is_not_counted_by_itself_adds_to_the_rest(
    make_bundle: Callable[..., Bundle], redis_server: Any, run_apart: Any
) -> None:
    recommender = BundleRecommender(make_bundle(np.eye(3)))
    about = LiveCounting(Examination({}), ("", "home"), half_life_s=1e9, until_s=0.0)
    counts = {("", "i0"): (30, 100), ("elsewhere", "i0"): (20, 100), ("", "i1"): (100, 200)}

    async def story(client: Any) -> None:
        store = Store(redis_server.url, Settings(), Telemetry())
        store.mark_up()
        keeper = AppealKeeper(store, lambda: [recommender])
        client.set(Keys().appeal_about, about.dump())
        await keeper.look()
        assert np.isnan(recommender.standing.columns[:, COUNTED]).all()
        for (scenario, item), (n_clicks, n_looks) in counts.items():
            packed = np.array([(n_clicks, n_looks, n_looks, time.time())], dtype=PACKED).tobytes()
            client.hset(Keys().appeal, field(scenario, item), packed)
            client.zadd(Keys().appeal_changed, {field(scenario, item): 1})
        client.hset(Keys().appeal, "i1", np.array([(100, 200, 200, time.time())], dtype=PACKED).tobytes())
        client.zadd(Keys().appeal_changed, {"i1": 1})  # from before there were scenarios
        await keeper.look()
        await store.close()

    with redis_server.client() as client:
        run_apart(story(client))
    clicks, looks = np.array([[50.0, 200, 0], [0, 0, 0]]), np.array([[200.0, 400, 0], [0, 0, 0]])
    rest = Counts(clicks, looks, looks)
    everywhere, _ = standing_by(rest, about.scenarios, np.arange(3))
    assert everywhere[0, 0] < everywhere[1, 0]  # 50 / 200 and 200 / 400
    np.testing.assert_allclose(recommender.standing.columns[:, COUNTED], everywhere, rtol=1e-4)
