"""Items that change while the service runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from recsys.bundle import Bundle
from serving.keys import Keys
from tests.serving.live_items.asking import MUG, picture, searched, shown, similar


def test_a_new_item_with_words_and_picture_is_answerable_within_a_second_everywhere(
    shop: Any, start_service: Any, redis_server: Any, growing: Path, eventually: Any
) -> None:
    other = start_service(bundle=growing, redis_url=redis_server.url)
    before = similar(shop, "i0", k=24)
    began = time.monotonic()
    put = shop.say("PUT", "n0", {**MUG, "picture": picture("red")})
    assert put.status_code == 200, put.text
    assert put.json()["is_new"] is True
    assert put.json()["item"]["attributes"]["category"] == ["mug", "mug > tall"]
    assert "n0" in similar(shop, "i0", k=3)  # a red mug, too
    assert searched(shop, "crimson")[0] == "n0"
    eventually(lambda: other.get("/v1/items/n0").status_code == 200, within_s=1.0)
    assert time.monotonic() - began < 1.5  # both workers, on a machine that runs the tests
    for service in (shop, other):
        assert service.get("/v1/items/n0").json()["title"] == "Crimson cup"
        assert set(similar(service, "n0", k=4)) == {"i0", "i6", "i12", "i18"}  # the red mugs
        assert set(similar(service, "n0", mode="image", k=4)) == {"i0", "i6", "i12", "i18"}
        assert "n0" in shown(service.get("/v1/users/u0/feed", k=24))  # who likes mugs
        assert "n0" in shown(service.ask("/v1/search", {"picture": picture("red"), "k": 5}), "results")
        sent = service.get("/v1/images/n0")
        assert (sent.status_code, sent.headers["content-type"]) == (200, "image/jpeg")
    assert "n0" not in before
    liked = shop.post({"user_id": "visitor", "item_id": "n0", "event_type": "view"})
    assert liked.json()["accepted"] == 1
    reasons = shop.feed("visitor", 3)["recommendations"][0]["reasons"]
    assert reasons[0] == "because you viewed Crimson cup"


def test_a_price_and_stock_take_effect_at_once_and_come_back(shop: Any) -> None:
    feed = shop.feed_ids("u0", 5)
    gone = feed[0]
    assert gone in similar(shop, feed[1], k=24)
    assert shop.say("PATCH", gone, {"available": False, "price": 77.0}).status_code == 200
    item = shop.get(f"/v1/items/{gone}").json()
    assert (item["price"], item["available"]) == (77.0, False)
    assert item["title"]  # the rest is as it was
    assert gone not in shop.feed_ids("u0", 24)
    assert gone not in similar(shop, feed[1], k=24)
    assert gone not in searched(shop, item["title"], k=24)
    # it still informs: who viewed it is shown what is like it
    shop.post({"user_id": "visitor", "item_id": gone, "event_type": "view"})
    assert f"you viewed {item['title']}" in shop.feed("visitor", 1)["recommendations"][0]["reasons"][0]
    assert len(similar(shop, gone, k=4)) == 4
    assert shop.say("PATCH", gone, {"available": True}).json()["is_new"] is False
    assert gone in shop.feed_ids("u0", 24)
    assert shop.get(f"/v1/items/{gone}").json()["price"] == 77.0


def test_a_changed_item_is_found_by_its_new_words_and_keeps_its_place(shop: Any) -> None:
    feed = shop.feed_ids("u1", 3)  # who likes shoes
    shop.say("PATCH", feed[0], {"title": "Blue cup", "attributes": {"color": ["Blue"], "category": ["mug"]}})
    assert feed[0] in searched(shop, "cup")[:1]
    assert shop.feed_ids("u1", 3) == feed  # what its users did says more of it than its title
    mugs = shop.get("/v1/items", category="mug", k=100).json()
    assert feed[0] in [item["item_id"] for item in mugs["items"]]


def test_a_deleted_item_is_unknown_until_it_is_put_again(shop: Any) -> None:
    assert shop.say("DELETE", "i0").status_code == 204
    assert shop.get("/v1/items/i0").status_code == 404
    assert shop.get("/v1/items/i0/similar").status_code == 404
    assert "i0" not in shop.feed_ids("u0", 24)
    assert "i0" not in searched(shop, "red mug", k=24, available_only=False)
    assert "i0" not in [item["item_id"] for item in shop.get("/v1/items", k=100).json()["items"]]
    assert shop.say("PATCH", "i0", {"price": 1.0}).status_code == 404
    assert shop.say("DELETE", "i0").status_code == 404
    refused = shop.post({"user_id": "u", "item_id": "i0", "event_type": "view"}).json()["refused"]
    assert refused[0]["rule"] == "item_id must be in the catalog"
    assert shop.say("PUT", "i0", {"title": "Red mug 0"}).json()["is_new"] is False
    assert "i0" in shop.feed_ids("u0", 24)
    shop.say("PUT", "n0", MUG)
    assert shop.say("DELETE", "n0").status_code == 204
    assert shop.get("/v1/items/n0").status_code == 404


def test_changes_survive_a_restart_and_a_new_version(  # noqa: PLR0917 - fixtures
    shop: Any, start_service: Any, redis_server: Any, publisher: Any, growing: Path, searchable: Path, eventually: Any
) -> None:
    shop.say("PUT", "n0", {**MUG, "picture": picture()})
    shop.say("PATCH", "i1", {"price": 0.5})
    shop.say("DELETE", "i2")
    again = start_service(bundle=growing, redis_url=redis_server.url)

    def check(service: Any) -> None:
        assert service.get("/v1/items/n0").json()["title"] == "Crimson cup"
        assert service.get("/v1/items/i1").json()["price"] == 0.5
        assert service.get("/v1/items/i2").status_code == 404
        assert len(similar(service, "n0", k=4)) == 4

    check(again)
    old = shop.get("/ready").json()["version"]
    publisher.publish(Bundle.open(searchable / "bundle"))  # it cannot place new items
    eventually(lambda: shop.get("/ready").json()["version"] != old)
    assert shop.get("/v1/items/n0").status_code == 404
    assert shop.get("/v1/items/i1").json()["price"] == 0.5
    assert shop.metric("recsys_items_unplaced_total") == 1
    publisher.publish(Bundle.open(growing))
    eventually(lambda: shop.get("/ready").json()["version"] == old)
    check(shop)


def test_changes_made_while_a_worker_was_cut_off_reach_it(
    mortal_redis: Any, start_service: Any, growing: Path, eventually: Any
) -> None:
    service = start_service(bundle=growing, redis_url=mortal_redis.url)
    eventually(lambda: service.get("/ready").json()["redis"] == "up")
    service.say("PATCH", "i1", {"price": 0.5})
    mortal_redis.kill()
    eventually(lambda: service.say("PATCH", "i1", {"price": 0.6}).status_code == 503)
    assert service.get("/v1/items/i1").json()["price"] == 0.5
    mortal_redis.start()
    with mortal_redis.client() as client:
        client.hset(Keys().item_now("i1"), "price", b"0.7")
        client.xadd(Keys().item_changes, {"item_id": "i1"})
    eventually(lambda: service.get("/v1/items/i1").json()["price"] == 0.7)


def test_patches_of_different_fields_do_not_undo_one_another(
    shop: Any, start_service: Any, redis_server: Any, growing: Path, eventually: Any
) -> None:
    other = start_service(bundle=growing, redis_url=redis_server.url)
    shop.say("PATCH", "i1", {"price": 0.5})
    other.say("PATCH", "i1", {"available": False})

    def settled(service: Any) -> bool:
        item = service.get("/v1/items/i1").json()
        return bool((item["price"], item["available"]) == (0.5, False))

    eventually(lambda: settled(shop) and settled(other))


def test_a_bundle_that_cannot_place_new_items_says_so_and_still_takes_prices(service: Any) -> None:
    answer = service.say("PUT", "n0", MUG)
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:recsys:problem:cannot-place"
    assert "onnx/cold_item.onnx" in answer.json()["detail"]
    assert service.say("PATCH", "i3", {"price": 1.25}).status_code == 200
    assert service.get("/v1/items/i3").json()["price"] == 1.25
    in_list = [
        slot["item"]["price"]
        for slot in service.get("/v1/items/i5/similar", k=58).json()["recommendations"]
        if slot["item"]["item_id"] == "i3"
    ]
    assert in_list == [1.25]


def test_without_redis_nothing_is_promised(start_service: Any, growing: Path) -> None:
    alone = start_service(bundle=growing)
    answer = alone.say("PUT", "n0", MUG)
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:recsys:problem:store-down"
    assert alone.get("/v1/items/n0").status_code == 404


def test_what_the_models_say_by_themselves_need_not_be_said_any_more(
    shop: Any, redis_server: Any, publisher: Any, growing: Path, searchable: Path
) -> None:
    own = Bundle.open(growing).display(3)
    shop.say("PATCH", "i3", {"price": own["price"], "title": own["title"]})
    shop.say("PATCH", "i4", {"price": 0.5})
    shop.say("PUT", "n0", MUG)
    shop.say("PUT", "n1", MUG)
    shop.say("DELETE", "n1")
    publisher.publish(Bundle.open(searchable / "bundle"))
    with redis_server.client() as client:
        assert client.smembers(Keys().items) == {b"i4", b"n0"}
        assert client.exists(Keys().item_now("i3"), Keys().item_now("n1")) == 0
    assert shop.get("/v1/items/i4").json()["price"] == 0.5
