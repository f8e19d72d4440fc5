"""How rules are put, kept, followed, refused and tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys.bundle import Bundle
from serving.keys import Keys
from serving.publishing import Publisher
from tests.serving.rules_route.asking import ids, post, put, similar


def test_every_worker_follows_within_a_second_and_keeps_the_last_rules_without_redis(
    start_service: Callable[..., Any], mortal_redis: Any, small_bundle: Path, eventually: Any, tmp_path: Path
) -> None:
    with mortal_redis.client() as client:
        Publisher(client, state_dir=tmp_path / "state").publish(Bundle.open(small_bundle))
    one, other = (start_service(bundle=small_bundle, redis_url=mortal_redis.url) for _ in range(2))
    put(one, {"name": "cheap", "keep": "price < 30"})
    eventually(lambda: similar(other)["rules_version"] == 1, within_s=1.0)
    mortal_redis.kill()
    for service in (one, other, start_service(bundle=small_bundle, redis_url=mortal_redis.url)):
        eventually(lambda service=service: similar(service)["store"] == "bundle")  # it need not ask Redis to notice
        answer = similar(service)
        assert (answer["store"], answer["rules_version"]) == ("bundle", 1)
        assert all(slot["item"]["price"] < 30 for slot in answer["recommendations"])
    refused = put(one, {"name": "cheap", "keep": "price < 40"})
    assert refused.status_code == 503
    assert one.get("/v1/rules").json()["rules"] == {"rules": [{"name": "cheap", "keep": "price < 30"}]}
    mortal_redis.start()
    eventually(lambda: put(other, {"name": "cheap", "keep": "price < 40"}).status_code == 200)
    eventually(lambda: similar(one)["rules_version"] == 2)


def test_rules_hold_for_the_next_model_from_its_first_answer(
    service: Any, publisher: Publisher, changed_bundle: Path, eventually: Any
) -> None:
    put(service, {"name": "cheap", "keep": "price < 30"})
    publisher.publish(Bundle.open(changed_bundle))
    version = Bundle.open(changed_bundle).version
    answers = []

    def switched() -> bool:
        answers.append(similar(service))
        return bool(answers[-1]["model_version"] == version)

    eventually(switched)
    assert all(slot["item"]["price"] < 30 for answer in answers for slot in answer["recommendations"])


def test_versions_are_kept_and_rolled_back(service: Any) -> None:
    put(service, {"name": "a", "keep": "price < 30"}, note="first")
    put(service, {"name": "b", "keep": "price < 40"})
    told = service.get("/v1/rules").json()
    assert (told["version"], told["active"]) == (2, 2)
    assert [(one["version"], one["note"], one["active"]) for one in told["history"]] == [
        (2, "", True),
        (1, "first", False),
    ]
    assert service.get("/v1/rules", version=1).json()["rules"]["rules"][0]["name"] == "a"
    assert httpx.post(service.base_url + "/v1/rules/rollback", timeout=10).json()["version"] == 1  # no body needed
    assert similar(service)["rules_version"] == 1
    assert post(service, "/v1/rules/rollback", to=2).json()["version"] == 2
    refused = post(service, "/v1/rules/rollback", to=9)
    assert (refused.status_code, refused.json()["detail"]) == (409, "there is no version 9")
    assert service.get("/v1/rules", version=9).status_code == 404


def test_a_change_based_on_an_older_version_is_refused(service: Any) -> None:
    assert put(service, {"name": "a", "keep": "price < 30"}, headers={"if-match": '"0"'}).status_code == 200
    late = put(service, {"name": "b", "keep": "price < 40"}, headers={"if-match": '"0"'})
    assert late.status_code == 409
    assert late.json()["active"] == 1
    assert put(service, {"name": "b", "keep": "price < 40"}, headers={"if-match": '"1"'}).json()["version"] == 2
    assert put(service, headers={"if-match": "*"}).status_code == 422


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"name": "bad", "hide": "price <"}, "rules[1] (bad): hide: character 8: expected a value, got 'the end'"),
        ({"name": "bad", "hide": "colour = red"}, "rule 'bad', hide: character 1: a field must be one of this catalog"),
        ({"name": "bad", "cap": "material"}, "rule 'bad', cap: must be an attribute of this catalog"),
        (
            {"name": "bad", "boost": "brand = Acme", "factor": 0},
            "rules[1] (bad).factor: Input should be",
        ),
    ],
)
def test_rules_that_do_not_fit_are_refused_and_change_nothing(service: Any, rule: dict[str, Any], said: str) -> None:
    refused = put(service, rule)
    assert refused.status_code == 422
    assert said in refused.json()["errors"][0]["rule"]
    assert similar(service)["rules_version"] == 0
    assert httpx.put(service.base_url + "/v1/rules", content=b"{").status_code == 422


def test_a_value_no_item_has_is_a_warning(service: Any) -> None:
    done = put(service, {"name": "a", "hide": "brand = Acne"}).json()
    assert done["warnings"] == ["rule 'a', hide: character 9: no item has 'Acne' as brand"]


def test_a_dry_run_tells_what_each_rule_would_move_and_changes_nothing(service: Any, redis_server: Any) -> None:
    before = ids(similar(service, k=4))
    rules = {
        "rules": [
            {"name": "gone", "hide": f"item_id = {before[1]}"},
            {"name": "up", "boost": f"item_id = {before[3]}", "factor": 100},
            {"name": "elsewhere", "hide": "price > 0", "when": {"scenarios": ["home"]}},
        ]
    }
    told = post(service, "/v1/rules/dry-run", rules=rules, item_id="i3", k=4).json()
    assert told["before"] == before
    assert told["after"][:3] == [before[3], before[0], before[2]]
    gone, up, elsewhere = told["effects"]
    assert gone["moves"] == [{"item_id": before[1], "before": 2, "after": None}]
    assert up["moves"] == [{"item_id": before[3], "before": 3, "after": 1}]
    assert (elsewhere["applies"], elsewhere["why"]) == (False, "the scenario is none of home")
    assert similar(service)["rules_version"] == 0
    at_home = post(service, "/v1/rules/dry-run", rules=rules, user_id="u1", scenario="home").json()
    assert at_home["after"] == []
    with redis_server.client() as client:
        assert client.exists(Keys().rules) == 0
    assert post(service, "/v1/rules/dry-run", rules=rules, item_id="nobody").status_code == 404
    assert post(service, "/v1/rules/dry-run", rules={"rules": [{"name": "x"}]}).status_code == 422


def test_rules_of_a_file_hold_where_none_are_stored(
    start_service: Callable[..., Any], small_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rules]]\nname = "cheap"\nkeep = "price < 30"\n')
    alone = start_service(bundle=small_bundle, rules=path)
    answer = similar(alone)
    assert answer["rules_version"] == 0
    assert all(slot["item"]["price"] < 30 for slot in answer["recommendations"])
    assert put(alone, {"name": "a", "keep": "price < 40"}).status_code == 503
