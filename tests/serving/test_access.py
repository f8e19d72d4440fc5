"""Keys, scopes, limits, and pages of other origins."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from serving.access.gate import need
from serving.access.keyring import ApiKey, KeyRing, new_key, read_keys, write_keys
from serving.access.rate import RateLimiter, SharedRateLimiter
from serving.commands.keys import app as keys_command
from serving.commands.serve import is_loopback, serve
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry


@pytest.fixture
def keyed(start_service: Callable[..., Any], small_bundle: Path, tmp_path: Path) -> tuple[Any, dict[str, str]]:
    """A service with a key of each kind, and the keys by name."""
    made = {
        "reader": new_key("reader", ["read"]),
        "writer": new_key("writer", ["write"]),
        "watcher": new_key("watcher", ["metrics"]),
        "owner": new_key("owner", ["read", "write", "admin"]),
        "eager": new_key("eager", ["read"], rate_per_s=0.01, burst=3),
    }
    write_keys(tmp_path / "keys.json", [key for _, key in made.values()])
    service = start_service(bundle=small_bundle, keys=tmp_path / "keys.json", cors_origins=("https://shop.example",))
    return service, {name: secret for name, (secret, _) in made.items()}


def ask(service: Any, method: str, path: str, key: str | None = None, **given: Any) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.request(method, service.base_url + path, headers=headers, timeout=10, **given)


def test_a_key_opens_what_its_scopes_say_and_nothing_else(keyed: tuple[Any, dict[str, str]]) -> None:
    service, keys = keyed
    event = {"json": {"events": [{"user_id": "u1", "item_id": "i1", "event_type": "view"}]}}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/items/i3/similar", {}),
        ("GET", "/v1/users/u1/feed", {}),
        ("POST", "/v1/events", event),
        ("GET", "/v1/users/u1", {}),
        ("GET", "/metrics", {}),
    ]
    answered = {
        name: [ask(service, method, path, keys.get(name), **given).status_code for method, path, given in asked]
        for name in ("nobody", "reader", "writer", "watcher", "owner")
    }
    assert answered == {
        "nobody": [401, 401, 401, 401, 401],
        "reader": [200, 200, 403, 403, 403],
        "writer": [403, 403, 202, 403, 403],
        "watcher": [403, 403, 403, 403, 200],
        "owner": [200, 200, 202, 200, 200],
    }


def test_public_pages_need_no_key_and_unknown_paths_need_the_highest(keyed: tuple[Any, dict[str, str]]) -> None:
    service, keys = keyed
    for path in ("/", "/health", "/ready", "/docs", "/openapi.json", "/static/storefront.js"):
        assert ask(service, "GET", path).status_code == 200, path
    assert ask(service, "GET", "/v1/something/new", keys["reader"]).status_code == 403
    assert ask(service, "GET", "/v1/something/new", keys["owner"]).status_code == 404
    assert need("PUT", "/v1/items/x") == need("DELETE", "/v1/users/x") == "admin"
    assert need("GET", "/v1/items/x/debug") == "admin"
    assert need("HEAD", "/v1/items/x") == "read"


def test_a_key_is_taken_from_either_header_and_from_no_other_place(keyed: tuple[Any, dict[str, str]]) -> None:
    service, keys = keyed
    url = service.base_url + "/v1/items/i3/similar"
    assert httpx.get(url, headers={"x-api-key": keys["reader"]}).status_code == 200
    assert httpx.get(url, headers={"authorization": f"bearer {keys['reader']}"}).status_code == 200
    assert httpx.get(url, headers={"authorization": f"Basic {keys['reader']}"}).status_code == 401
    assert httpx.get(url, params={"key": keys["reader"]}).status_code == 401
    refused = httpx.get(url, headers={"x-api-key": keys["reader"] + "x"})
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:recsys:problem:no-valid-key"
    assert keys["reader"] not in refused.text


def test_a_key_over_its_rate_is_told_when_to_come_back_and_others_are_not_held_up(
    keyed: tuple[Any, dict[str, str]],
) -> None:
    service, keys = keyed
    path = "/v1/items/i3/similar"
    statuses = [ask(service, "GET", path, keys["eager"]).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = ask(service, "GET", path, keys["eager"])
    assert 0 < int(refused.headers["retry-after"]) <= 100
    assert ask(service, "GET", path, keys["reader"]).status_code == 200
    metrics = ask(service, "GET", "/metrics", keys["owner"]).text
    assert 'recsys_requests_refused_total{tenant="",why="rate-limit"} 2.0' in metrics


def test_workers_share_a_bucket_and_go_by_their_own_while_redis_is_away(mortal_redis: Any, run_apart: Any) -> None:
    async def story() -> None:
        now = [100.0]
        settings, counted = Settings(redis_timeout_s=2.0), Telemetry("rated")
        store = Store(mortal_redis.url, settings, counted)
        await store.probe(None)
        store.mark_up()
        workers = [SharedRateLimiter(store, counted, lambda: now[0]) for _ in range(2)]

        async def let_through(n: int) -> int:
            """How many of n requests, sent to the workers in turn, are let through."""
            waits = [await workers[turn % 2].wait_s("a", rate_per_s=0.5, burst=6) for turn in range(n)]
            assert all(0 < wait <= 2 for wait in waits if wait)
            return waits.count(0.0)

        assert await let_through(20) == 6
        now[0] += 2.1  # a token is there again, by the workers' clocks; Redis has its own
        await asyncio.sleep(2.1)
        assert await let_through(20) == 1
        assert await workers[0].wait_s("b", rate_per_s=0.5, burst=6) == 0.0
        assert counted.exposition().decode().count('recsys_rates_alone_total{tenant="rated"} 0.0') == 1
        mortal_redis.kill()
        now[0] += 10
        assert await let_through(40) == 12  # each by itself
        assert 'recsys_rates_alone_total{tenant="rated"} 40.0' in counted.exposition().decode()
        await store.close()

    run_apart(story())


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    now = [0.0]
    limiter = RateLimiter(lambda: now[0])

    def wait() -> float:
        return limiter.wait_s("a", rate_per_s=2.0, burst=2)

    assert [wait(), wait(), wait()] == [0.0, 0.0, 0.5]
    now[0] = 0.5
    assert [wait(), wait()] == [0.0, 0.5]
    now[0] = 100.0
    assert [wait(), wait(), wait()] == [0.0, 0.0, 0.5]
    assert limiter.wait_s("b", rate_per_s=2.0, burst=2) == 0.0


def test_a_revoked_key_is_refused_soon_and_a_broken_file_changes_nothing(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    file = tmp_path / "keys.json"
    (kept, kept_key), (revoked, revoked_key) = new_key("kept", ["read"]), new_key("revoked", ["read"])
    write_keys(file, [kept_key, revoked_key])
    ring = KeyRing(file)
    found = ring.find(revoked)
    assert found is not None
    assert found.name == "revoked"
    write_keys(file, [kept_key])
    eventually(lambda: ring.find(revoked) is None, within_s=5)
    file.write_text("{")
    ring._next_look = 0.0
    assert ring.find(kept) is not None
    write_keys(file, [revoked_key])  # as a restored file, which is older than the one before
    os.utime(file, (1e9, 1e9))
    ring._next_look = 0.0
    assert ring.find(kept) is None


def test_the_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret, key = new_key("one", ["read"])
    write_keys(file, [key])
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_keys(file) == (key,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"keys": [{"name": "a", "sha256": "rk_pasted", "scopes": ["read"]}]}', "keys.0.sha256"),
        ('{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": []}]}', "keys.0.scopes"),
        (json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["read"]}] * 2}), "'a' stands there twice"),
    ],
)
def test_a_bad_file_of_keys_is_refused_by_rule_and_place_and_no_key_is_repeated(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"keys\.json") as refused:
        read_keys(file)
    assert said in str(refused.value)
    assert "rk_pasted" not in str(refused.value)


def test_the_command_makes_lists_and_revokes(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    run = CliRunner().invoke
    made = run(keys_command, ["create", "widget", "--file", file, "--scope", "read", "--scope", "write", "--rate", "5"])
    assert made.exit_code == 0
    found = KeyRing(Path(file)).find(made.output.strip())
    assert isinstance(found, ApiKey)
    assert (found.name, found.scopes, found.rate_per_s) == ("widget", {"read", "write"}, 5.0)
    again = run(keys_command, ["create", "widget", "--file", file, "--scope", "read"])
    assert isinstance(again.exception, InputError)
    assert "widget" in run(keys_command, ["list", "--file", file]).output
    assert run(keys_command, ["revoke", "widget", "--file", file]).exit_code == 0
    assert read_keys(Path(file)) == ()


def test_pages_of_allowed_origins_may_ask_and_others_may_not(keyed: tuple[Any, dict[str, str]]) -> None:
    service, keys = keyed
    url = service.base_url + "/v1/items/i3/similar"
    preflight = {"access-control-request-method": "GET", "access-control-request-headers": "x-api-key"}
    allowed = httpx.options(url, headers={"origin": "https://shop.example", **preflight})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert httpx.options(url, headers={"origin": "https://evil.example", **preflight}).status_code == 400
    answer = httpx.get(url, headers={"origin": "https://shop.example", "x-api-key": keys["reader"]})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    refused = httpx.get(url, headers={"origin": "https://shop.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"  # so that the page can read why
    foreign = httpx.get(url, headers={"origin": "https://evil.example", "x-api-key": keys["reader"]})
    assert "access-control-allow-origin" not in foreign.headers


def test_the_description_says_which_key_a_request_needs(keyed: tuple[Any, dict[str, str]]) -> None:
    service, _ = keyed
    described = ask(service, "GET", "/openapi.json").json()
    similar = described["paths"]["/v1/items/{item_id}/similar"]["get"]
    assert similar["security"] == [{"bearer": []}, {"header": []}]
    assert {"401", "403", "429"} <= set(similar["responses"])
    assert "`read`" in similar["description"]
    assert "security" not in described["paths"]["/health"]["get"]


def test_a_service_that_others_reach_is_not_open_by_accident(small_bundle: Path) -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")  # noqa: S104
    with pytest.raises(InputError, match="no API keys"):
        serve(bundle=small_bundle, host="0.0.0.0")  # noqa: S104
