"""The storefront for everyone and on a bad day: by keyboard, in the dark, on a phone, hostile shops, no service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Visit = Callable[..., Any]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_and_every_control_has_a_name(visit: Visit, scheme: str) -> None:
    store = visit(color_scheme=scheme, reduced_motion="reduce")
    store.wait_for_home()
    for where in ("home", "product", "sheet"):
        if where == "product":
            store.page.click(".grid .card a")
            store.wait_for_product()
        if where == "sheet":
            store.page.click("#person")
            store.page.wait_for_selector("#history a")
        store.page.wait_for_timeout(300)
        assert store.page.eval_on_selector_all("img", "all => all.filter((e) => !e.hasAttribute('alt')).length") == 0
        assert store.page.eval_on_selector_all(".card img", "all => all.filter((e) => !e.alt).length") == 0
        assert store.run("nameless.js") == []
        assert store.run("faint.js") == []
        assert store.page.locator("h1").count() == 1
        store.keep_screenshot(f"{where}-{scheme}")
    for landmark in ("header", "main", "footer", "[role=search]"):
        assert store.page.locator(landmark).count() == 1
    assert store.page.get_attribute("html", "lang") == "en"


def test_phone_width_fits_without_scrolling_sideways(visit: Visit) -> None:
    store = visit(viewport={"width": 360, "height": 740}, color_scheme="dark")
    store.wait_for_home()
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert store.page.evaluate(fits)
    store.keep_screenshot("phone")
    store.page.click(".grid .card a")
    store.wait_for_product()
    assert store.page.evaluate(fits)


def test_the_page_can_be_used_by_keyboard_alone(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    store.page.keyboard.press("Tab")
    assert store.page.evaluate("document.activeElement.className") == "skip"
    store.page.keyboard.press("Enter")
    for _ in range(4):
        store.page.keyboard.press("Tab")
        if store.page.evaluate("Boolean(document.activeElement.closest('.card'))"):
            break
    focused = store.page.evaluate("document.activeElement.closest('.card').dataset.item")
    assert store.page.evaluate("getComputedStyle(document.activeElement.closest('.card')).outlineStyle") == "solid"
    store.page.keyboard.press("Enter")
    store.wait_for_product()
    assert store.page.url.endswith(f"#/item/{focused}")
    assert store.page.evaluate("document.activeElement.id") == "page-title"
    store.page.evaluate("setTimeout(() => document.querySelector('.actions button').click(), 50)")
    store.page.focus("#for-you .card:nth-child(3) a")
    store.until("document.querySelector('#for-you .row-note').textContent.includes('cart')")
    assert store.page.evaluate("Boolean(document.activeElement.closest('#for-you'))")
    store.page.keyboard.press("/")
    assert store.page.evaluate("document.activeElement.id") == "query"
    store.page.keyboard.type("red mug")
    store.until("document.querySelector('h1').textContent.includes('red mug')")
    store.page.wait_for_selector(".grid .card[data-item]")
    found = store.shown(".grid")
    assert {int(item[1:]) for item in found[:10]} == set(range(0, 60, 6))  # every third is red, every second a mug


def test_a_service_that_is_away_is_said_and_asked_again(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    store.page.route("**/v1/**", lambda route: route.abort())
    store.page.click(".grid .card a")
    store.page.wait_for_selector("#banner:visible")
    assert "does not answer" in store.page.inner_text("#banner-text")
    assert store.page.evaluate("document.querySelector('#banner').getBoundingClientRect().top >= 0")
    store.keep_screenshot("away")
    store.page.unroute("**/v1/**")
    store.page.click("#banner-retry")
    store.wait_for_product()
    assert store.page.locator("#banner").is_hidden()
    store.complaints.clear()  # the browser reports each request that was cut


def test_what_a_shop_writes_is_shown_and_never_run(visit: Visit, storefront_url: str) -> None:
    hostile = "<img src=x onerror=\"document.title='run'\"><b>bold</b>"
    outside_id = "ünï/cødé ✓?#&%2F"
    item = {"item_id": outside_id, "title": hostile, "description": hostile, "price": 3, "available": True}
    item |= {"image_url": None, "attributes": {hostile: [hostile], "category": [hostile]}, "match_score": None}
    slot = {"item": item, "score": 1.0, "source": "content", "reasons": [hostile], "propensity": 1.0}
    answer = {
        "recommendations": [slot],
        "recommendation_id": "r",
        "model_version": hostile,
        "source": "content",
        "store": "redis",
    }
    store = visit()
    store.wait_for_home()
    asked: list[str] = []

    def answer_item(route: Any) -> None:
        asked.append(route.request.url.removeprefix(storefront_url))
        body = answer if route.request.url.endswith("k=12") else item
        route.fulfill(content_type="application/json", body=json.dumps(body))

    store.page.route("**/v1/items/*", answer_item)
    store.page.route("**/v1/items/*/similar?k=12", answer_item)
    store.page.route("**/feed?k=12", answer_item)
    store.page.route(
        "**/v1/events", lambda route: route.fulfill(content_type="application/json", body="{}", status=202)
    )
    store.page.evaluate("id => { location.hash = `#/item/${encodeURIComponent(id)}`; }", outside_id)
    store.wait_for_product()
    assert store.page.inner_text("h1") == hostile
    assert store.page.inner_text(".description") == hostile
    assert store.facts("#similar") == [{"source": "content", "reasons": [hostile]}]
    assert store.page.locator("main b").count() == 0
    assert store.page.title().startswith("<img")
    quoted = "%C3%BCn%C3%AF%2Fc%C3%B8d%C3%A9%20%E2%9C%93%3F%23%26%252F"
    assert sorted(asked)[:2] == [f"/v1/items/{quoted}", f"/v1/items/{quoted}/similar?k=12"]
    store.page.click("#similar .card a")
    assert store.page.evaluate("decodeURIComponent(location.hash)") == f"#/item/{outside_id}"


def test_an_unknown_product_is_no_dead_end(visit: Visit) -> None:
    store = visit("/#/item/none-such")
    store.page.wait_for_selector("text=No such product")
    store.complaints.clear()  # the browser reports the 404
    store.page.click("text=Show all products")
    store.wait_for_home()
