"""Several shops in one service: no key of one reaches, changes, counts or exhausts anything of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from serving.access.gate import need
from serving.access.keyring import ApiKey, new_key, write_keys
from serving.keys import Keys
from serving.publishing import Publisher
from serving.tenants import House, read_tenants

SCOPES = ["read", "write", "admin"]


def renamed(old: Bundle) -> dict[str, Any]:
    """What is changed in a bundle whose ids all begin with "bolt-"."""
    return {
        "items": Vocabulary([f"bolt-{one}" for one in old.items.ids]),
        "users": Vocabulary([f"bolt-{one}" for one in old.users.ids]),
        "display": [{**one, "item_id": f"bolt-{one['item_id']}"} for one in old.displays()],
    }


@dataclass
class Street:
    """Two shops, acme and bolt, in one service."""

    house: House
    base_url: str
    secrets: dict[str, str]
    redis: Any

    def ask(self, method: str, path: str, key: str | None = None, host: str | None = None, **given: Any) -> Any:
        headers = {} if key is None else {"authorization": f"Bearer {self.secrets[key]}"}
        if host is not None:
            headers["host"] = host
        return httpx.request(method, self.base_url + path, headers=headers, timeout=10, **given)

    def kept(self, tenant: str) -> dict[bytes, bytes]:
        """Everything of a tenant in Redis, and how long each lives."""
        with self.redis.client() as client:
            names = sorted(client.scan_iter(match=f"{Keys(tenant).root}:*", count=1000))
            return {name: client.dump(name) for name in names}

    def metrics(self, tenant: str) -> str:
        text = self.house.apps[tenant].state.telemetry.exposition().decode()
        return "\n".join(line for line in text.splitlines() if "_created" not in line)


@pytest.fixture
def street(  # noqa: PLR0917 - fixtures
    start_asgi: Callable[[Any], str],
    redis_server: Any,
    small_bundle: Path,
    rewritten: Callable[..., Path],
    tmp_path: Path,
    eventually: Any,
) -> Street:
    old = Bundle.open(small_bundle)
    bundles = {"acme": small_bundle, "bolt": rewritten(old, tmp_path / "bolt-bundle", **renamed(old))}
    made = {
        "acme": new_key("owner", SCOPES),
        "bolt": new_key("owner", SCOPES),
        "eager": new_key("eager", ["read"], rate_per_s=0.01, burst=2),
        "patient": new_key("eager", ["read"], rate_per_s=0.01, burst=2),
    }
    write_keys(tmp_path / "acme.json", [made["acme"][1], made["eager"][1]])
    write_keys(tmp_path / "bolt.json", [made["bolt"][1], made["patient"][1]])
    file = tmp_path / "tenants.toml"
    file.write_text(
        f'[acme]\nkeys = "acme.json"\nbundle = "{small_bundle}"\nhosts = ["acme.example"]\n'
        f'[bolt]\nkeys = "bolt.json"\nbundle = "{bundles["bolt"]}"\nhosts = ["bolt.example"]\n'
    )
    with redis_server.client() as client:
        for name, bundle in bundles.items():
            Publisher(client, state_dir=tmp_path / "state" / name, tenant=name).publish(Bundle.open(bundle))
    common: dict[str, Any] = {"redis_url": redis_server.url, "state_dir": tmp_path / "state", "log_requests": False}
    house = House(read_tenants(file, **common, redis_timeout_s=2.0, poll_s=0.05))
    address = start_asgi(house)
    with redis_server.client() as client:  # what a worker writes by itself is there
        eventually(lambda: client.exists(Keys("acme").history, Keys("bolt").history) == 2)
    return Street(house, address, {name: secret for name, (secret, _) in made.items()}, redis_server)


def routes(house: House) -> list[tuple[str, str]]:
    """Every method and path of the API's description, filled with ids that both shops could have."""
    described = house.apps["acme"].openapi()["paths"]
    found = [(method.upper(), path) for path, operations in described.items() for method in operations]
    assert len(found) > 20
    return [(method, re.sub(r"{(\w+)}", "bolt-i1", path)) for method, path in found]


BODIES: dict[str, dict[str, Any]] = {
    "/v1/events": {"events": [{"user_id": "bolt-u1", "item_id": "i3", "event_type": "purchase", "event_id": "e"}]},
    "/v1/items": {"items": [{"item_id": "bolt-i1", "price": 1.0, "available": False}]},
    "/v1/items/bolt-i1": {"title": "taken over", "available": False},
    "/v1/users/bolt-i1": {"attributes": {"tier": ["gold"]}},
    "/v1/recommend": {"like": ["bolt-i1"], "user_id": "bolt-u1"},
    "/v1/batch": {"requests": [{"feed": {"user_id": "bolt-u1"}}, {"similar": {"item_id": "bolt-i1"}}]},
    "/v1/search": {"text": "red"},
    "/v1/rules": {"rules": [{"name": "nothing", "hide": "price >= 0"}]},
    "/v1/experiments": {"experiments": []},
}


def test_whatever_a_key_asks_for_nothing_of_another_shop_is_read_changed_or_counted(street: Street) -> None:
    before, counted = street.kept("bolt"), street.metrics("bolt")
    assert any(b":item:bolt-i1" in name for name in before)
    answered: dict[int, int] = {}
    for method, path in routes(street.house):
        body = BODIES.get(path) if method in {"POST", "PUT", "PATCH"} else None
        answer = street.ask(method, path, "acme", json=body)
        answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
        told = [one for one in re.findall(r'"item_id":"(bolt-[^"]*)"', answer.text) if one != "bolt-i1"]
        assert not told, (method, path, answer.text[:300])
        assert "bolt-u1" not in re.sub(r"[?/]v1[^\"]*", "", answer.text) or method == "POST", (method, path)
    assert answered[200] + answered.get(202, 0) + answered.get(204, 0) > 10, answered
    assert street.kept("bolt") == before
    assert street.metrics("bolt") == counted
    assert street.kept("acme") != {}


def test_no_key_opens_another_shop_s_address_on_any_route(street: Street) -> None:
    before = street.kept("bolt")
    for method, path in routes(street.house):
        if need(method, path) == "public":
            continue
        answer = street.ask(method, path, "acme", host="bolt.example", json=BODIES.get(path))
        assert answer.status_code == 401, (method, path, answer.text)
    assert street.kept("bolt") == before
    assert street.ask("GET", "/v1/items/bolt-i1", "bolt", host="bolt.example:8000").status_code == 200


def test_a_key_alone_leads_to_its_own_shop(street: Street) -> None:
    assert street.ask("GET", "/v1/items/i3", "acme").json()["item_id"] == "i3"
    assert street.ask("GET", "/v1/items/i3", "bolt").status_code == 404
    assert street.ask("GET", "/v1/items/bolt-i3", "bolt").json()["item_id"] == "bolt-i3"
    for path in ("/v1/items/i3", "/metrics", "/openapi.json", "/v1/images/i3", "/"):
        assert street.ask("GET", path).status_code == 401, path
    assert street.ask("GET", "/", host="acme.example").status_code == 200
    assert street.ask("GET", "/health").json() == {"status": "alive"}
    assert street.ask("GET", "/ready").json() == {"ready": True, "tenants": 2, "not_ready": 0}


def test_events_rules_and_forgetting_stay_with_their_shop(street: Street) -> None:
    event = {"user_id": "u1", "item_id": "i3", "event_type": "view", "event_id": "same"}
    assert street.ask("POST", "/v1/events", "acme", json={"events": [event]}).json()["accepted"] == 1
    theirs = {**event, "item_id": "bolt-i3"}
    assert street.ask("POST", "/v1/events", "bolt", json={"events": [theirs]}).json()["accepted"] == 1
    assert [one["item_id"] for one in street.ask("GET", "/v1/users/u1", "bolt").json()["events"]] == ["bolt-i3"]
    assert street.ask("DELETE", "/v1/users/u1", "acme").status_code == 204
    assert len(street.ask("GET", "/v1/users/u1", "bolt").json()["events"]) == 1
    assert street.ask("PUT", "/v1/rules", "acme", json=BODIES["/v1/rules"]).status_code == 200
    assert street.ask("GET", "/v1/rules", "bolt").json()["version"] == 0
    assert len(street.ask("GET", "/v1/users/x/feed", "bolt").json()["recommendations"]) == 12


def test_rates_and_metrics_are_a_shop_s_own_even_for_keys_of_one_name(street: Street) -> None:
    asked = [street.ask("GET", "/v1/items", "eager").status_code for _ in range(4)]
    assert asked == [200, 200, 429, 429]
    assert street.ask("GET", "/v1/items", "patient").status_code == 200
    told = street.ask("GET", "/metrics", "bolt").text
    assert 'tenant="bolt"' in told
    assert "acme" not in told
    assert 'recsys_requests_refused_total{tenant="bolt"' not in told


def test_a_shop_that_takes_all_its_places_leaves_the_others_theirs(
    start_asgi: Callable[[Any], str], small_bundle: Path, tmp_path: Path
) -> None:
    secrets = {name: _keyed(tmp_path, name) for name in ("acme", "bolt")}
    file = tmp_path / "tenants.toml"
    file.write_text(
        "".join(f'[{name}]\nkeys = "{name}.json"\nbundle = "{small_bundle}"\nat_once = 1\n' for name in secrets)
    )
    house = House(read_tenants(file, state_dir=tmp_path / "state", log_requests=False))
    base_url = start_asgi(house)

    def slow() -> Iterator[bytes]:
        yield b'{"events": [{"user_id": "u1", "item_id": "i3", "event_type": "view"}'
        statuses.append(httpx.get(f"{base_url}/v1/items", headers={"x-api-key": secrets["acme"]}).status_code)
        statuses.append(httpx.get(f"{base_url}/v1/items", headers={"x-api-key": secrets["bolt"]}).status_code)
        yield b"]}"

    statuses: list[int] = []
    headers = {"x-api-key": secrets["acme"], "content-type": "application/json"}
    answer = httpx.post(f"{base_url}/v1/events", headers=headers, content=slow())
    assert statuses == [503, 200]
    assert answer.status_code == 202
    assert httpx.get(f"{base_url}/v1/items", headers={"x-api-key": secrets["acme"]}).status_code == 200


def _keyed(folder: Path, name: str, *more: ApiKey) -> str:
    secret, key = new_key("owner", SCOPES)  # type: ignore[arg-type]
    write_keys(folder / f"{name}.json", [key, *more])
    return secret


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("", "a table for each tenant"),
        ("[acme]\n", "must name its file of API keys"),
        ('[acme]\nkeys = "acme.json"\nredis_timeouts = 1\n', "no setting that a tenant may have"),
        ('[acme]\nkeys = "acme.json"\nstate_dir = "/tmp"\n', "no setting that a tenant may have"),
        ('[acme]\nkeys = "acme.json"\npoll_s = -1\n', "RECSYS_POLL_S"),
        ('[acme]\nkeys = "acme.json"\nhosts = ["A.example"]\n', "pattern"),
        ('["a:b"]\nkeys = "acme.json"\n', "RECSYS_TENANT"),
        ('[acme]\nkeys = "acme.json"\n[bolt]\nkeys = "acme.json"\n', "an API key must belong to one tenant"),
        (
            '[acme]\nkeys = "acme.json"\nhosts = ["x"]\n[bolt]\nkeys = "bolt.json"\nhosts = ["x"]\n',
            "a host must belong to one tenant",
        ),
    ],
)
def test_a_file_of_tenants_that_breaks_a_rule_is_refused_by_name(said: str, rule: str, tmp_path: Path) -> None:
    _keyed(tmp_path, "acme")
    _keyed(tmp_path, "bolt")
    file = tmp_path / "tenants.toml"
    file.write_text(said)
    with pytest.raises(InputError, match=rule):
        read_tenants(file)


def test_what_is_a_shop_s_own_may_not_be_set_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _keyed(tmp_path, "acme")
    file = tmp_path / "tenants.toml"
    file.write_text('[acme]\nkeys = "acme.json"\n')
    monkeypatch.setenv("RECSYS_BUNDLE", "somewhere")
    with pytest.raises(InputError, match="RECSYS_BUNDLE must not be set for all tenants"):
        read_tenants(file)
