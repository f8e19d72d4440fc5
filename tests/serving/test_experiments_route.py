from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recsys.bundle import Bundle
from recsys.experiments import Experiments
from serving.keys import Keys
from serving.nearline.attribution import attribute
from serving.publishing import Publisher


def put(service: Any, *experiments: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"experiments": experiments, **more}
    return httpx.put(service.base_url + "/v1/experiments", json=body, timeout=10)


def put_rules(service: Any, *rules: dict[str, Any]) -> int:
    done = httpx.put(service.base_url + "/v1/rules", json={"rules": rules}, timeout=10)
    assert done.status_code == 200, done.text
    version: int = done.json()["version"]
    return version


def two_arms(name: str = "test", **other: Any) -> dict[str, Any]:
    return {"name": name, "arms": [{"name": "control"}, {"name": "other", "overrides": other}]}


def test_arms_differ_in_rules_and_the_answer_and_the_log_say_which(
    service: Any, redis_server: Any, eventually: Any
) -> None:
    cheap = put_rules(service, {"name": "cheap", "keep": "price < 30"})
    everybody = put_rules(service, {"name": "all", "keep": "price > 0"})
    assert put(service, two_arms(rules=cheap)).json() == {"version": 1, "warnings": []}
    assigned = Experiments.read({"experiments": [two_arms()]}, "experiments")
    arms = set()
    for number in range(12):
        answer = service.feed(f"visitor{number}", 30)
        arm = assigned.arms_of(f"visitor{number}", now_s=0.0, stopped=frozenset())
        assert answer["arms"] == arm
        arms |= set(arm.values())
        prices = [slot["item"]["price"] for slot in answer["recommendations"]]
        assert answer["rules_version"] == (cheap if arm["test"] == "other" else everybody)
        assert (max(prices) < 30) == (arm["test"] == "other")
    assert arms == {"control", "other"}
    assert service.get("/v1/items/i3/similar").json()["arms"] == {}  # nobody asks, so nobody takes part
    assert set(service.get("/v1/items/i3/similar", user_id="visitor1").json()["arms"]) == {"test"}
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 14)
        logged = [fields for _, fields in client.xrange(Keys().impressions)]
    assert {orjson.loads(fields[b"arms"]).get("test") for fields in logged} == {"control", "other", None}


def test_an_arm_may_answer_from_another_model(
    service: Any, publisher: Publisher, small_bundle: Path, changed_bundle: Path, eventually: Any
) -> None:
    old, new = Bundle.open(small_bundle).version, publisher.publish(Bundle.open(changed_bundle)).version
    eventually(lambda: service.feed("u1")["model_version"] == new)
    assert put(service, two_arms(model=old)).status_code == 200
    for number in range(8):
        answer = service.feed(f"visitor{number}")
        assert answer["model_version"] == (old if answer["arms"]["test"] == "other" else new)
    refused = put(service, two_arms(model="nobody"))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["rule"] == "experiment 'test', arm 'other': no model 'nobody' is published"


def test_a_sold_out_item_is_not_shown_by_an_arm_with_another_model_either(
    service: Any, publisher: Publisher, small_bundle: Path, changed_bundle: Path, eventually: Any
) -> None:
    old, new = Bundle.open(small_bundle).version, publisher.publish(Bundle.open(changed_bundle)).version
    eventually(lambda: service.feed("u1")["model_version"] == new)
    put(service, two_arms(model=old))
    visitor = next(name for name in map("visitor{}".format, range(50)) if service.feed(name)["model_version"] == old)
    before = [slot["item"]["item_id"] for slot in service.feed(visitor, 5)["recommendations"]]
    gone, later = before[:2]

    def shown() -> set[str]:
        answer = service.feed(visitor, 5)
        assert answer["model_version"] == old
        return {slot["item"]["item_id"] for slot in answer["recommendations"]}

    assert httpx.patch(f"{service.base_url}/v1/items/{gone}", json={"available": False}, timeout=10).is_success
    eventually(lambda: gone not in shown())
    assert later in shown()
    assert httpx.delete(f"{service.base_url}/v1/items/{later}", timeout=10).is_success
    eventually(lambda: later not in shown())


def test_an_arm_may_explore_and_another_not(service: Any) -> None:
    put(service, two_arms(exploration={"temperature": 0.5}))
    chances = {"control": set(), "other": set()}
    for number in range(10):
        answer = service.feed(f"visitor{number}", 3)
        chances[answer["arms"]["test"]] |= {slot["propensity"] for slot in answer["recommendations"]}
    assert chances["control"] == {1.0}
    assert max(chances["other"]) < 1


def test_an_arm_may_weigh_likeness_in_another_way(service: Any) -> None:
    put(service, two_arms(weights={"image": 1.0, "text": 0.0}))
    for number in range(8):
        answer = service.get("/v1/items/i3/similar", k=5, user_id=f"visitor{number}", user_weight=0).json()
        sources = {slot["source"] for slot in answer["recommendations"]}
        assert sources == ({"image"} if answer["arms"]["test"] == "other" else {"published"})
        asked = service.get("/v1/items/i3/similar", k=5, user_id=f"visitor{number}", mode="text").json()
        assert {slot["source"] for slot in asked["recommendations"]} == {"text"}  # what a request names goes before
    assert put(service, two_arms(weights={"image": 0.0})).status_code == 422
    assert put(service, two_arms(weights={"smell": 1.0})).status_code == 422


def test_arms_are_counted_with_what_came_of_them(service: Any, redis_server: Any, eventually: Any) -> None:
    put(service, two_arms(), holdout=0.3)
    answers = {f"visitor{number}": service.feed(f"visitor{number}", 5) for number in range(20)}
    by_arm: dict[str, list[str]] = {}
    for user, answer in answers.items():
        by_arm.setdefault(answer["arms"].get("test", "holdout"), []).append(user)
    assert set(by_arm) == {"control", "other", "holdout"}
    clicker = by_arm["other"][0]
    shown = answers[clicker]
    event = {"user_id": clicker, "item_id": shown["recommendations"][0]["item"]["item_id"], "event_id": "e1"}
    click = event | {"event_type": "click", "recommendation_id": shown["recommendation_id"]}
    for one in (click, click, event | {"event_type": "view", "event_id": "e2"}):  # sent twice; names no answer
        assert service.post(one).status_code == 202
    service.post(event | {"event_type": "purchase", "event_id": "e3"})

    def counted() -> dict[str, Any]:
        told: dict[str, Any] = service.get("/v1/experiments/results").json()
        return told

    def arm(name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in counted()["experiments"][0]["arms"] if one["name"] == name)
        return found

    eventually(lambda: arm("other")["purchases"] == 1)
    wanted = {"answers": len(by_arm["other"]), "slots": 5 * len(by_arm["other"]), "short": 0, "fallbacks": 0}
    nothing = {"answers": 0, "slots": 0, "clicked_answers": 0, "clicks": 0, "late": 0}  # nobody attributes here
    assert arm("other") == {"name": "other", **wanted, "clicks": 1, "purchases": 1, "attributed": nothing}
    assert arm("control")["clicks"] == 0
    assert counted()["holdout"]["answers"] == len(by_arm["holdout"])
    assert service.metric("recsys_arm_answers_total", experiment="test", arm="other") == len(by_arm["other"])
    with redis_server.client() as client:
        assert client.hget(Keys().counters("test", "other"), "clicks") == b"1"


def test_a_broken_guard_rail_stops_the_experiment_for_every_worker(
    start_service: Callable[..., Any], service: Any, redis_server: Any, small_bundle: Path, eventually: Any
) -> None:
    other = start_service(bundle=small_bundle, redis_url=redis_server.url, guard_every_s=0.05)
    rail = {"metric": "click_rate", "allowed": 0.1, "min_answers": 100}
    assert put(service, {**two_arms(exploration={"epsilon": 1.0}), "guard_rails": [rail]}).status_code == 200
    visitor = next(f"v{n}" for n in range(50) if service.feed(f"v{n}")["arms"]["test"] == "other")
    told_0 = 'recsys_experiments_stopped_total{experiment="test",tenant=""} 0.0'  # or its alert would see no increase
    eventually(lambda: told_0 in other.get("/metrics").text)
    with redis_server.client() as client:
        client.hset(Keys().counters("test", "control"), mapping={"answers": 1000, "clicks": 200})
        client.hset(Keys().counters("test", "other"), mapping={"answers": 1000, "clicks": 50})
    eventually(lambda: service.get("/v1/experiments").json()["stopped"] == ["test"])
    assert other.metric("recsys_experiments_stopped_total", experiment="test") == 1
    eventually(lambda: other.feed(visitor)["arms"] == {})
    answer = service.feed(visitor)
    assert answer["arms"] == {}
    assert {slot["propensity"] for slot in answer["recommendations"]} == {1.0}
    told = service.get("/v1/experiments/results").json()["experiments"][0]
    assert (told["running"], told["stopped"]) == (False, True)
    assert told["guard_rails"][0]["broken"]
    assert put(service, two_arms()).status_code == 200  # put again under its name it stays stopped
    assert service.feed(visitor)["arms"] == {}


def test_an_experiment_is_stopped_also_where_rules_that_nobody_can_read_were_written_into_redis_by_hand(
    service: Any, redis_server: Any, eventually: Any
) -> None:
    assert put(service, two_arms()).status_code == 200
    with redis_server.client() as client:
        client.hset(Keys().rules, mapping={"active": 1, "last": 1, "changed": 1, "document:1": "{", "about:1": "{}"})
        eventually(lambda: service.metric("recsys_policy_failures_total") == 1)
        client.hset(Keys().stopped, "test", "{}")
        eventually(lambda: service.get("/v1/experiments").json()["stopped"] == ["test"])
    assert service.metric("recsys_policy_failures_total") == 1


def test_experiments_are_refused_where_they_name_what_is_not_there(service: Any) -> None:
    refused = put(service, two_arms(rules=7))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["rule"] == "experiment 'test', arm 'other': there is no version 7 of the rules"
    assert put(service, {"name": "a", "arms": []}).status_code == 422
    assert service.get("/v1/experiments").json()["active"] == 0


def test_experiments_are_rolled_back(service: Any) -> None:
    put(service, two_arms("first"))
    put(service, two_arms("second"))
    assert set(service.feed("u1")["arms"]) == {"second"}
    rolled = httpx.post(service.base_url + "/v1/experiments/rollback", json={}, timeout=10)
    assert rolled.json()["version"] == 1
    assert set(service.feed("u1")["arms"]) == {"first"}


def test_shoppers_who_do_not_click_stop_a_bad_arm_on_every_worker_and_a_harmless_experiment_goes_on(
    start_service: Callable[..., Any], service: Any, redis_server: Any, small_bundle: Path, eventually: Any
) -> None:
    """Shoppers click the first cheap thing they see: an arm of "dear" hides it, the arms of "same" are alike."""
    workers = [
        service,
        start_service(bundle=small_bundle, redis_url=redis_server.url, guard_every_s=0.2),
    ]
    hides_cheap, _ = put_rules(service, {"name": "dear", "hide": "price < 40"}), put_rules(service)
    rail = {"metric": "click_rate", "allowed": 0.1, "min_answers": 40}
    dear, same = two_arms("dear", rules=hides_cheap), two_arms("same")
    assert put(service, {**dear, "guard_rails": [rail]}, {**same, "guard_rails": [rail]}).status_code == 200
    eventually(lambda: all(set(one.feed("nobody")["arms"]) == {"dear", "same"} for one in workers))
    stop = threading.Event()
    with redis_server.client() as client:
        nearline = threading.Thread(
            target=attribute,
            args=(client,),
            kwargs={"worker": "w", "stop": stop, "wait_s": 0.05, "abandoned_after_s": 0.2},
        )
        nearline.start()
        try:
            clicked = {"control": 0, "other": 0}
            spoiled = ""
            for number in range(2_000):
                worker, visitor = workers[number % 2], f"shopper{number}"
                answer = worker.feed(visitor, 6)
                arm = answer["arms"].get("dear")
                if arm is None:
                    break
                spoiled = visitor if arm == "other" else spoiled
                wanted = [slot["item"] for slot in answer["recommendations"] if slot["item"]["price"] < 40]
                assert (wanted == []) == (arm == "other")
                for item in wanted[:1]:
                    event = {"user_id": visitor, "item_id": item["item_id"], "event_type": "click"}
                    worker.post({**event, "recommendation_id": answer["recommendation_id"]})
                    clicked[arm] += 1
            else:
                pytest.fail("the guard-rail did not stop the bad arm")
            eventually(lambda: all(set(one.feed(spoiled)["arms"]) == {"same"} for one in workers))
            for worker in workers:
                again = worker.feed(spoiled, 6)  # they are shown what everybody is
                assert min(slot["item"]["price"] for slot in again["recommendations"]) < 40
                assert worker.get("/v1/experiments").json()["stopped"] == ["dear"]

            def told(experiment: str) -> dict[str, Any]:
                every = service.get("/v1/experiments/results").json()["experiments"]
                found: dict[str, Any] = next(one for one in every if one["name"] == experiment)
                return found

            def attributed() -> dict[str, int]:
                return {arm["name"]: arm["attributed"]["clicks"] for arm in told("dear")["arms"]}

            eventually(lambda: attributed() == clicked)
            assert (clicked["control"] >= 40, clicked["other"]) == (True, 0)
            assert (told("dear")["running"], told("dear")["guard_rails"][0]["broken"]) == (False, True)
            assert (told("same")["running"], told("same")["guard_rails"][0]["broken"]) == (True, False)
            stops = [worker.metric("recsys_experiments_stopped_total", experiment="dear") for worker in workers]
            assert sum(stops) == 1
        finally:
            stop.set()
            nearline.join(20)
