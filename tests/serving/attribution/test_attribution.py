"""Clicks count for the arm that showed what was clicked: within the window, once a slot, whoever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.crc import key_slot

from serving.keys import Keys
from serving.nearline.attribution import GROUP, Attribution
from tests.serving.attribution.clicks import KEYS, click, count_until_killed, counted, run, show


def test_a_click_counts_once_a_slot_for_the_arms_of_the_answer_it_names(client: Redis) -> None:
    show(client, "one", "xyz")
    show(client, "two", "xy", arms={"test": "b", "other": "c"})
    show(client, "none", "x", arms={})
    click(client, "one", "x")
    click(client, "one", "x", at=111.0)  # again on the same slot
    click(client, "one", "y", kind="view")
    click(client, "one", "z", kind="viewable")  # was on screen, no click
    click(client, "one", "q")  # was not shown
    click(client, "two", "y")
    click(client, None, "x")  # names no answer
    click(client, "none", "x")  # of an answer of no arm
    click(client, "unheard of", "x")
    run(client)
    assert counted(client) == {"answers": 1, "slots": 3, "clicked_answers": 1, "clicks": 2, "late": 0}
    of_two = {"answers": 1, "slots": 2, "clicked_answers": 1, "clicks": 1, "late": 0}
    assert counted(client, "test", "b") == counted(client, "other", "c") == of_two


def test_a_click_after_the_window_is_late_and_one_before_its_answer_is_none(client: Redis) -> None:
    show(client, "one", "wxyz", at=100.0)
    click(client, "one", "w", at=160.0)
    click(client, "one", "x", at=160.5)
    click(client, "one", "y", at=50.0)
    run(client)
    assert counted(client) == {"answers": 1, "slots": 4, "clicked_answers": 1, "clicks": 1, "late": 2}


def test_a_worker_killed_before_it_acknowledged_counts_nothing_twice(client: Redis) -> None:
    show(client, "one", "xyz")
    click(client, "one", "x")
    counting = Attribution(client, KEYS, window_s=60.0)
    count_until_killed(client, counting)
    pending: Any = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 1
    run(client)
    assert counted(client) == {"answers": 1, "slots": 3, "clicked_answers": 1, "clicks": 1, "late": 0}
    pending = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 0


def test_a_worker_killed_before_it_counted_loses_nothing(client: Redis) -> None:
    show(client, "one", "xyz")
    click(client, "one", "x")
    for stream in (KEYS.impressions, KEYS.events):  # handed out to a worker that does not come back
        client.xgroup_create(stream, GROUP, id="0")
        client.xreadgroup(GROUP, "dead", {stream: ">"})
    time.sleep(0.05)
    run(client, abandoned_after_s=0.01)
    assert counted(client)["clicks"] == counted(client)["answers"] == 1


def test_a_click_that_overtakes_its_answer_is_looked_at_again(client: Redis) -> None:
    click(client, "one", "x")
    run(client, abandoned_after_s=0.3)
    assert counted(client)["clicks"] == 0
    show(client, "one", "xyz")
    time.sleep(0.35)
    run(client, abandoned_after_s=0.3)
    assert counted(client)["clicks"] == 1
    pending: Any = client.xpending(KEYS.events, GROUP)
    assert pending["pending"] == 0


def test_what_cannot_be_read_stops_nothing(client: Redis) -> None:
    client.xadd(KEYS.impressions, {"arms": b"{", "slots": b""})
    client.xadd(KEYS.impressions, {"arms": b'{"test": "a"}'})
    client.xadd(KEYS.events, {"event_type": b"click"})
    show(client, "one", "x")
    click(client, "one", "x")
    run(client)
    assert counted(client) == {"answers": 1, "slots": 1, "clicked_answers": 1, "clicks": 1, "late": 0}
    for stream in (KEYS.impressions, KEYS.events):
        pending: Any = client.xpending(stream, GROUP)
        assert pending["pending"] == 0


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_all_that_one_script_touches_lies_in_one_slot_of_a_cluster(tenant: str) -> None:
    keys = Keys(tenant)
    names = [keys.impressions, keys.attributed("e", "a"), keys.shown("r"), keys.clicked("r", "{x}")]
    names += [keys.appeal, keys.appeal_changed, keys.appeal_about]
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_results_and_metrics_tell_the_rate_of_each_arm(service: Any, redis_server: Any, eventually: Any) -> None:
    body = {"experiments": [{"name": "test", "arms": [{"name": "a"}, {"name": "b"}]}]}
    assert httpx.put(service.base_url + "/v1/experiments", json=body, timeout=10).status_code == 200
    answers: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for number in range(12):
        answer = service.feed(f"visitor{number}", 4)
        answers[answer["arms"]["test"]].append(answer)
    assert all(answers.values())
    for answer in answers["a"]:
        for slot in answer["recommendations"][:2]:
            one = {"user_id": "anyone", "item_id": slot["item"]["item_id"], "event_type": "click"}
            service.post({**one, "recommendation_id": answer["recommendation_id"]})
    with redis_server.client() as client:
        eventually(lambda: client.xlen(KEYS.impressions) == 12)
    command = [Path(sys.executable).with_name("recsys"), "log", "attribute", "--once"]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "REDIS_URL": redis_server.url})
    n = len(answers["a"])
    told = service.get("/v1/experiments/results").json()["experiments"][0]["arms"]
    assert {one["name"]: one["attributed"] for one in told} == {
        "a": {"answers": n, "slots": 4 * n, "clicked_answers": n, "clicks": 2 * n, "late": 0},
        "b": {"answers": 12 - n, "slots": 4 * (12 - n), "clicked_answers": 0, "clicks": 0, "late": 0},
    }
    guard = service.app.state.policy_desk._guard
    guard._next_guard = 0.0
    eventually(lambda: service.metric("recsys_arm_attributed", arm="a", count="clicks") == 2 * n)
    assert service.metric("recsys_arm_attributed", arm="b", count="slots") == 4 * (12 - n)
