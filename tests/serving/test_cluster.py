"""The service on a cluster of six real servers, and on a primary watched by Sentinels."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pandas as pd
import pytest

from recsys.bundle import Bundle
from serving.connection import check_url, connect, several
from serving.keys import Keys
from serving.nearline.archive import merge
from serving.nearline.collect import collect
from serving.publishing import Publisher
from serving.settings import Settings


def _family() -> ModuleType:
    """The servers' module beside this one."""
    spec = importlib.util.spec_from_file_location("redis_family", Path(__file__).parent / "redis_family.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


family = _family()


@dataclass(frozen=True)
class Shop:
    """The small shop, published on several servers."""

    servers: Any
    service: Any
    publisher: Publisher
    folder: Path


@pytest.fixture
def shop(servers: Any, small_bundle: Path, start_service: Callable[..., Any], tmp_path: Path) -> Shop:
    publisher = Publisher(connect(servers.url, socket_timeout=5), state_dir=tmp_path / "state")
    assert publisher.publish(Bundle.open(small_bundle)).measured_bytes > 0
    given = {"redis_timeout_s": 1.0, "archive": tmp_path / "log"}
    service = start_service(bundle=small_bundle, redis_url=servers.url, **given)
    return Shop(servers, service, publisher, tmp_path)


@pytest.fixture(params=["cluster", "watched"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with getattr(family, request.param)(tmp_path / "servers") as running:
        yield running


def test_everything_works_and_a_lost_primary_costs_no_answer(
    shop: Shop, changed_bundle: Path, eventually: Callable[..., None]
) -> None:
    service, first = shop.service, shop.publisher.current()
    similar = service.get("/v1/items/i3/similar").json()
    assert (similar["store"], len(similar["recommendations"])) == ("redis", 12)
    batch = [
        {"user_id": f"w{n % 5}", "item_id": f"i{2 * n}", "event_type": "view", "event_id": f"e{n}"} for n in range(20)
    ]
    assert service.post(*batch).json() == {"accepted": 20, "duplicates": 0, "refused": []}
    assert service.post(*batch[:3], {**batch[0], "event_id": "new"}).json() == {
        "accepted": 1,
        "duplicates": 3,
        "refused": [],
    }
    assert [one["item_id"] for one in service.get("/v1/users/w1").json()["events"]] == ["i2", "i12", "i22", "i32"]
    assert all(int(item[1:]) % 2 == 0 for item in service.feed_ids("w1"))
    said = [{"user_id": f"w{n}", "attributes": {"tier": [f"t{n}"], "city": []}} for n in range(60)]
    assert httpx.post(service.base_url + "/v1/users", json={"users": said}, timeout=10).json()["accepted"] == 60
    for user_id, tier in (("w1", "t1"), ("w59", "t59")):
        assert service.get(f"/v1/users/{user_id}").json()["attributes"] == {"tier": [tier]}
    other = shop.publisher.publish(Bundle.open(changed_bundle))
    eventually(lambda: service.feed("w1")["model_version"] == other.version)
    shop.publisher.rollback()
    eventually(lambda: service.feed("w1")["model_version"] == first)

    assert service.say("PATCH", "i5", {"price": 0.25, "available": False}).status_code == 200
    assert service.say("PATCH", "i5", {"available": True}).status_code == 200
    assert (service.get("/v1/items/i5").json()["price"], service.say("DELETE", "i7").status_code) == (0.25, 204)

    near = {"worker": "a", "stop": threading.Event(), "once": True, "returns": Settings(redis_url=shop.servers.url)}
    with connect(shop.servers.url) as client:
        collect(client, shop.folder / "log", **near)
    assert httpx.delete(service.base_url + "/v1/users/w4", timeout=10).status_code == 204
    hidden = {"rules": [{"name": "not cheap", "hide": "price < 30"}]}
    assert httpx.put(service.base_url + "/v1/rules", json=hidden, timeout=10).status_code == 200
    with connect(shop.servers.url) as client:
        client.flushall()
        eventually(lambda: client.hget(Keys().rules, "active") == b"1", within_s=30)
        eventually(lambda: client.smembers(Keys().items) == {b"i5", b"i7"}, within_s=30)
        eventually(lambda: client.get(Keys().current) == (first or "").encode(), within_s=60)
        collect(client, shop.folder / "log", **near)
    came_back = service.get("/v1/users/w1").json()["events"]
    assert [one["item_id"] for one in came_back] == ["i2", "i12", "i22", "i32"]
    assert service.get("/v1/users/w4").json()["events"] == []
    assert service.post(batch[1]).json()["duplicates"] == 1
    assert service.metric("recsys_policies_restored_total", what="rules") == 1
    assert all(one["item"]["price"] >= 30 for one in service.feed("w3")["recommendations"])
    assert service.get("/v1/items/i5").json()["price"] == 0.25
    assert httpx.put(service.base_url + "/v1/rules", json={"rules": []}, timeout=10).json()["version"] == 2

    shop.servers.servers[0].kill()
    for _ in range(10):
        assert service.get("/v1/items/i3/similar").status_code == 200
        assert service.feed("w2")["recommendations"]
        assert service.post({"user_id": "w9", "item_id": "i4", "event_type": "view"}).status_code == 202
    eventually(lambda: service.get("/ready").json()["redis"] == "up", within_s=30)
    eventually(lambda: service.get("/v1/items/i3/similar").json()["store"] == "redis", within_s=30)
    eventually(lambda: service.get("/ready").json()["pending_events"] == 0, within_s=30)
    eventually(lambda: len(service.get("/v1/users/w9").json()["events"]) == 10, within_s=30)

    with connect(shop.servers.url) as client:
        collect(client, shop.folder / "log", worker="a", stop=threading.Event(), once=True)
    merge(shop.folder / "log" / "events", shop.folder / "events.parquet", kind="events")
    logged = pd.read_parquet(shop.folder / "events.parquet")
    assert sorted(logged[logged["user_id"] == "w1"]["event_id"]) == [
        "e1",
        "e11",
        "e16",
        "e6",
    ]  # from before all was lost
    assert (logged["user_id"] == "w9").sum() == 10


def test_an_address_of_several_servers_is_read_in_all_its_parts() -> None:
    about = several("rediss+sentinel://bob:p%40ss@one:1,two/my%20shop/3?sentinel_password=s")
    assert about.hosts == (("one", 1), ("two", 26379))
    assert (about.service, about.database, about.sentinel_password) == ("my shop", 3, "s")
    assert about.credentials == {"ssl": True, "username": "bob", "password": "p@ss"}
    assert several("redis+cluster://[::1]:7000,b").hosts == (("::1", 7000), ("b", 6379))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://secret@host", "must start with one of"),
        ("redis+sentinel://:secret@host:1", "must name the service"),
        ("redis+sentinel://:secret@host:1/shop/one", "database"),
        ("redis+cluster://:secret@host:port", "host:port"),
        ("redis+cluster://", "host:port"),
        ("redis+cluster://host:99999", "1 to 65535"),
    ],
)
def test_an_unusable_address_is_refused_by_rule_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)
