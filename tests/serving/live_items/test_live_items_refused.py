"""What may not be said of items is refused by name, and the rest of an import is taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.live_items.asking import MUG, picture


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
                {"item_id": " n8", **MUG},
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
        (8, " n8", "body.items.8.item_id", " n8"),
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
