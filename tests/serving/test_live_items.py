"""Items that change while the service runs."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from recsys.bundle import Bundle
from serving.keys import Keys

MUG: dict[str, Any] = {
    "title": "Crimson cup",
    "price": 3.5,
    "attributes": {"color": ["Red"], "category": ["mug > tall"]},
}


def picture(color: str = "blue") -> str:
    """A mug as the shop draws them: colored above, white below."""
    drawn = Image.new("RGB", (64, 64), "white")
    drawn.paste(color, (0, 0, 64, 32))
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def shop(start_service: Callable[..., Any], redis_server: Any, publisher: Any, growing: Path) -> Any:
    publisher.publish(Bundle.open(growing))
    return start_service(bundle=growing, redis_url=redis_server.url)


def shown(answer: httpx.Response, name: str = "recommendations") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [slot["item"]["item_id"] for slot in answer.json()[name]]


def similar(service: Any, item_id: str, **query: Any) -> list[str]:
    return shown(service.get(f"/v1/items/{item_id}/similar", **query))


def searched(service: Any, words: str, **query: Any) -> list[str]:
    return shown(service.ask("/v1/search", {"words": words, **query}), "results")


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


def test_many_items_at_once_and_the_bad_ones_by_name(shop: Any) -> None:
    answer = shop.ask(
        "/v1/items",
        {
            "items": [
                {"item_id": "n1", **MUG},
                {"item_id": "n2", "title": "Green sneaker", "picture": picture("green")},
                {"item_id": "n3", "title": "x", "picture": "bm8gcGljdHVyZQ=="},
                {"item_id": "n1", "title": "twice"},
            ]
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == 2
    assert [(one["index"], one["item_id"]) for one in answer.json()["refused"]] == [(2, "n3"), (3, "n1")]
    assert "must be a picture" in answer.json()["refused"][0]["rule"]
    assert "n1" in shop.feed_ids("u0", 24)
    assert "n2" in shop.feed_ids("u1", 24)
    patched = shop.ask("/v1/items", {"mode": "patch", "items": [{"item_id": "n1", "price": 9.0}, {"item_id": "no"}]})
    assert patched.json() == {
        "accepted": 1,
        "refused": [
            {
                "index": 1,
                "item_id": "no",
                "rule": "must be in the catalog",
                "place": "body.items.1.item_id",
                "value": "no",
            }
        ],
    }
    item = shop.get("/v1/items/n1").json()
    assert (item["price"], item["title"]) == (9.0, "Crimson cup")


def test_a_row_out_of_bounds_is_refused_by_itself_with_rule_place_and_value(shop: Any) -> None:
    answer = shop.ask(
        "/v1/items",
        {
            "items": [
                {"item_id": "n0", **MUG, "price": -2},
                {"item_id": "n1", **MUG},
                {"title": "nameless"},
                {"item_id": "n3", "title": 7, "colour": "red"},
                "n4",
                {"item_id": "n1", "title": "twice"},
                {"item_id": "n6", "title": "x", "picture": "???"},
                {"item_id": "n7", "title": "x" * 1_001},
            ]
        },
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["accepted"] == 1
    refused = [(one["index"], one["item_id"], one["place"], one["value"][:6]) for one in told["refused"]]
    assert refused == [
        (0, "n0", "body.items.0.price", "-2"),
        (2, None, "body.items.2.item_id", "{'titl"),
        (3, "n3", "body.items.3.title", "7"),
        (4, None, "body.items.4", "n4"),
        (5, "n1", "body.items.5.item_id", "n1"),
        (6, "n6", "body.items.6.picture", "???"),
        (7, "n7", "body.items.7.title", "xxxxxx"),
    ]
    assert told["refused"][0]["rule"] == "Input should be greater than or equal to 0"
    assert shop.get("/v1/items/n1").json()["title"] == "Crimson cup"
    assert [shop.get(f"/v1/items/n{n}").status_code for n in (0, 3, 4, 6, 7)] == [404] * 5
    nothing_good = shop.ask("/v1/items", {"items": [{"item_id": "n1", "price": -1}]})
    assert (nothing_good.status_code, nothing_good.json()["accepted"]) == (200, 0)
    assert shop.get("/v1/items/n1").json()["price"] == 3.5


def test_a_body_that_is_no_list_of_up_to_500_items_is_refused_as_a_whole(shop: Any) -> None:
    rows = [{"item_id": f"n{n}", "price": -1.0} for n in range(501)]
    for body, place in (
        ({"items": rows}, "body.items"),
        ({"items": []}, "body.items"),
        ({"items": {"item_id": "n0"}}, "body.items"),
        ({"mode": "merge", "items": rows[:1]}, "body.mode"),
        ({"items": rows[:1], "hurry": True}, "body.hurry"),
    ):
        answer = shop.ask("/v1/items", body)
        assert answer.status_code == 422, body
        assert [error["place"] for error in answer.json()["errors"]] == [place]
        assert "nothing of this import was taken" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"price": -1}, 422, "body.price"),
        ({"price": "3"}, 422, "body.price"),
        ({"colour": "red"}, 422, "body.colour"),
        ({"attributes": {"color": "red"}}, 422, "body.attributes.color"),
        ({"attributes": {" ": ["red"]}}, 422, "body.attributes"),
        ({"picture": "bm8gcGljdHVyZQ=="}, 422, "must be a picture"),
        ({"picture": "???"}, 422, "base64"),
        (
            {"picture": picture(), "image": "a.png"},
            422,
            "body: image and picture exclude one another: give one of them",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(shop: Any, body: dict[str, Any], status: int, says: str) -> None:
    for method, item_id in (("PUT", "n0"), ("PATCH", "i0")):
        answer = shop.say(method, item_id, body)
        assert answer.status_code == status
        assert says in answer.json()["detail"]
    assert shop.get("/v1/items/n0").status_code == 404


def test_a_refused_picture_is_told_by_its_place(shop: Any) -> None:
    for picture_of in ("bm8gcGljdHVyZQ==", "???"):
        problem = shop.say("PUT", "n0", {"title": "Mug", "picture": picture_of}).json()
        assert [error["place"] for error in problem["errors"]] == ["body.picture"]


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
