"""The whole way round: what the service showed and heard, replayed, is what happened."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from features.quarantine import Quarantine
from recsys.bundle import Bundle
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.replay.bundle_policy import answer_log
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.log import Log
from recsys.replay.plackett_luce import slot_probabilities
from recsys.replay.policy import Logged
from recsys.replay.reading import read_logs
from serving.nearline.archive import merge
from serving.nearline.collect import collect

SLOTS, REQUESTS = 2, 1200
TEMPERATURE = 2.0


def liked(item_id: str) -> float:
    """How probably a visitor who looks at it clicks: every third item is a good one."""
    return 0.6 if int(item_id[1:]) % 3 == 0 else 0.15


@pytest.fixture
def seeded_draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From the call on, answers have ids that follow from a seed, and an answer's draws follow from its id.

    The service itself takes ids from the system's generator (see `serving/ids.py`); nothing but a test foresees them.
    """

    def seeded(seed: int) -> None:
        drawn = random.Random(seed)
        generator = SimpleNamespace(token_hex=lambda n_bytes: drawn.randbytes(n_bytes).hex())
        monkeypatch.setattr("serving.ids.secrets", generator)
        monkeypatch.setattr("serving.ids._read", deque())

    return seeded


@pytest.fixture
def log(
    *,
    seeded_draws: Callable[[int], None],
    start_service: Callable[..., Any],
    redis_server: Any,
    publisher: Any,
    small_bundle: Path,
    eventually: Callable[..., None],
    tmp_path: Path,
) -> Log:
    """Strangers' feeds with exploration on, their clicks reported when all is shown."""
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(bundle=small_bundle, redis_url=redis_server.url)
    rules = {"exploration": {"temperature": TEMPERATURE, "pool": 8}}
    assert httpx.put(service.base_url + "/v1/rules", json=rules, timeout=10).status_code == 200
    eventually(lambda: service.feed("probe", SLOTS)["recommendations"][0]["propensity"] < 1)
    seeded_draws(3)
    rng, events = np.random.default_rng(3), []
    with service.client() as client:
        for number in range(REQUESTS):
            answer = client.get(f"/v1/users/stranger-{number}/feed?k={SLOTS}").json()
            for shown in answer["recommendations"]:
                item_id = shown["item"]["item_id"]
                if rng.random() < liked(item_id):
                    events.append(
                        {"user_id": f"stranger-{number}", "item_id": item_id, "event_type": "click",
                         "timestamp": time.time(), "recommendation_id": answer["recommendation_id"]}
                    )  # fmt: skip
    for begin in range(0, len(events), 400):
        service.post(*events[begin : begin + 400])
    with redis_server.client() as client:
        eventually(lambda: client.xlen("rs:impressions") > REQUESTS)
        collect(client, tmp_path, worker="w", stop=threading.Event(), once=True)
    for kind in ("impressions", "events"):
        merge(tmp_path / kind, tmp_path / f"{kind}.parquet", kind=kind)
    quarantine = Quarantine()
    (found,) = read_logs(tmp_path, quarantine=quarantine)
    assert quarantine.total == 0
    strangers = np.array([found.users[user].startswith("stranger") for user in found.user_idx])
    assert strangers.sum() == SLOTS * REQUESTS
    assert found.reward[strangers].sum() == len(events)
    return found.where(strangers)


def test_a_replayed_log_of_the_service_tells_the_truth_of_its_own_and_of_other_policies(
    log: Log, small_bundle: Path
) -> None:
    bundle = Bundle.open(small_bundle)
    order = [one.item_id for one in BundleRecommender(bundle).recommend(UserState(), 50)]
    rates = np.array([liked(item_id) for item_id in order])

    def truth(temperature: float, pool: int) -> float:
        places = np.arange(1.0, pool + 1)
        return float((slot_probabilities(-np.log(places) / temperature, SLOTS) @ rates[:pool]).sum() / SLOTS)

    assert log.given_above
    assert log.marginal is not None
    best = answer_log("best", bundle, log, temperature=None).policy
    policies = replay(log, [Logged(log), best], config=ReplayConfig(segments=False)).policies
    own = policies["logged"].estimators["ips"]
    assert own.value == pytest.approx(log.reward.mean())
    assert abs(own.value - truth(TEMPERATURE, 8)) < 4 * own.standard_error
    found = policies["best"].estimators
    for name in ("independent", "sn_independent", "reward_interaction", "auto"):
        assert abs(found[name].value - rates[:SLOTS].mean()) < 4 * found[name].standard_error, name
    assert policies["best"].diagnostics is not None
    seen = policies["best"].diagnostics
    assert abs(seen.mean_weight - 1.0) < 4 * seen.mean_weight_error
