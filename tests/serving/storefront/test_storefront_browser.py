"""What a visitor sees and clicks: the personal row follows, and each suggestion says where it came from and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Visit = Callable[..., Any]


def test_looking_at_a_product_changes_the_personal_row_and_takes_the_product_out_of_it(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    store.until("[...document.querySelectorAll('.grid img')].slice(0, 6).every((image) => image.naturalWidth === 160)")
    before = store.shown("#for-you")
    assert {card["source"] for card in store.facts("#for-you")} == {"popular"}
    store.keep_screenshot("home-newcomer")

    clicked = before[0]
    suggested_by = store.page.get_attribute("#for-you .card", "data-recommendation")
    with store.page.expect_request("**/v1/events") as posted:
        store.page.click(f"#for-you .card[data-item={clicked}] a")
    (event,) = posted.value.post_data_json["events"]
    assert (event["event_type"], event["item_id"]) == ("view", clicked)
    assert event["recommendation_id"] == suggested_by
    store.wait_for_product()
    similar = store.shown("#similar")
    assert len(similar) == 12
    assert clicked not in similar
    assert {card["source"] for card in store.facts("#similar")} == {"published"}
    assert all(card["reasons"] for card in store.facts("#similar"))
    assert store.page.locator(".stage img").evaluate("image => image.naturalWidth") == 160
    frame, picture = (store.page.locator(f".stage {part}").bounding_box() for part in (".frame", "img"))
    assert frame["y"] <= picture["y"]
    assert picture["y"] + picture["height"] <= frame["y"] + frame["height"]
    store.keep_screenshot("product")

    store.page.go_back()
    store.wait_for_home()
    after = store.shown("#for-you")
    assert clicked not in after
    assert set(after) != set(before) - {clicked}
    assert "personalized" in {card["source"] for card in store.facts("#for-you")}
    assert all(card["reasons"] for card in store.facts("#for-you") if card["source"] == "personalized")
    assert store.page.inner_text("#fact-store") == "redis"
    assert store.page.inner_text("#fact-model") not in {"", "not asked yet"}
    assert store.page.inner_text("#fact-latency").endswith(" ms")
    store.keep_screenshot("home")


def test_taste_shows_in_the_personal_row(visit: Visit) -> None:
    store = visit("/#/item/i3")
    store.wait_for_product()
    store.page.goto(store.page.url.replace("i3", "i5"))
    store.until("document.querySelector('#for-you .row-note').textContent.includes('shoe 5')")
    personal = [
        item
        for item, card in zip(store.shown("#for-you"), store.facts("#for-you"), strict=True)
        if card["source"] == "personalized"
    ]
    assert len(personal) >= 6
    assert all(int(item[1:]) % 2 == 1 for item in personal)


def test_the_grid_goes_on_and_narrows_by_category(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    assert len(store.shown(".grid")) == 24
    store.page.click("text=Load more")
    store.until("document.querySelectorAll('.grid .card').length === 48")
    store.page.click("text=Load more")
    store.until("document.querySelectorAll('.grid .card').length === 60")
    assert len(set(store.shown(".grid"))) == 60
    assert store.page.locator("text=Load more").is_hidden()
    store.page.click("nav.chips >> text=Kitchen")
    store.until("document.querySelector('.count')?.textContent === '30 products'")
    store.page.click("nav.chips >> text=Mug")
    store.until("location.hash.includes('Mug')")
    store.until("document.querySelector('.count')?.textContent === '30 products'")
    assert all(int(item[1:]) % 2 == 0 for item in store.shown(".grid"))


def test_what_cannot_be_bought_or_has_no_picture_says_so(visit: Visit) -> None:
    store = visit("/#/item/i57")
    store.wait_for_product()
    assert store.page.inner_text(".stock") == "Sold out"
    assert store.page.is_disabled("text=Buy now")
    store.page.goto(store.page.url.replace("i57", "i59"))
    store.page.wait_for_selector(".stage .tile")
    store.until("document.querySelector('#for-you .row-note').textContent.includes('shoe 59')")
    assert store.page.get_attribute(".stage .tile", "aria-label").endswith("(no picture)")
    assert store.page.locator("[role=meter]").count() == 0
    store.page.goto(store.page.url.replace("i59", "i4"))
    store.page.wait_for_selector("[role=meter]")
    assert 40 <= int(store.page.get_attribute("[role=meter]", "aria-valuenow")) <= 100


def test_a_bought_product_is_remembered_until_the_visitor_asks_to_be_forgotten(visit: Visit) -> None:
    store = visit("/#/item/i2")
    store.wait_for_product()
    store.page.click("text=Buy now")
    store.until("document.querySelector('#for-you .row-note').textContent.includes('bought')")
    store.page.click("#person")
    store.page.wait_for_selector("#history a")
    assert store.page.inner_text("#history").split("\n") == ["Bought Green mug 2", "Looked at Green mug 2"]
    store.page.click("#forget")
    store.until("document.querySelector('#for-you').dataset.source === 'popular'")
    store.page.click("#person")
    store.until("document.querySelector('#history').textContent === 'Nothing.'")
    store.page.fill("#user-id", "u1")
    store.page.click("text=Switch")
    store.until("document.querySelector('#person-name').textContent === 'u1'")
    store.until("document.querySelector('#for-you').dataset.source !== 'popular'")
    liked_kind = [int(item[1:]) % 2 for item in store.shown("#for-you")]
    assert sum(liked_kind) >= 10
    store.page.reload()
    store.page.wait_for_selector("#for-you .card[data-item]")
    assert store.page.inner_text("#person-name").endswith("u1")


def test_the_api_docs_open_from_the_footer_and_list_the_feed(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    store.page.click("footer >> text=API")
    store.page.wait_for_selector(".opblock-summary-path >> text=/feed")
    store.keep_screenshot("api-docs")


def test_a_refused_event_does_not_take_its_neighbors_with_it(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    done = store.run("refused_neighbor.js")
    assert done["sent"] == [["i1", "bad", "i2"], ["i1"], ["bad"], ["i2"], ["i3"]]
    assert done["outcome"] == 422


def test_an_event_that_comes_while_others_are_forgotten_in_flight_is_sent(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    assert store.run("forgotten_while_sending.js") == [["i1"], ["i2"]]
