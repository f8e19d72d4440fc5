"""The widget in a page of another origin, in a real browser."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

STATIC = Path(__file__).parents[3] / "serving" / "static"
HOSTILE_STYLE = "* { color: red !important; font-size: 40px !important } ul { display: none !important }"
Visit = Callable[..., Any]


@pytest.fixture
def other_site() -> Iterator[Callable[..., str]]:
    """A site of another origin; give it the body of a page and its security policy, and get the page's address."""
    pages: dict[str, tuple[str, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, policy = pages.get(self.path, ("", "default-src 'none'"))
            content = f"<!doctype html><html lang=en><head><title>Shop</title></head><body>{body}</body></html>"
            self.send_response(200 if self.path in pages else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-security-policy", policy)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def page(body: str, *, service: str) -> str:
        path = f"/page{len(pages)}"
        pages[path] = (
            body,
            f"default-src 'none'; script-src {service}; connect-src {service}; img-src {service} data:",
        )
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield page
    server.shutdown()
    server.server_close()


def tag(service: str, key: str, **data: str) -> str:
    said = " ".join(f'data-{name}="{value}"' for name, value in {"item": "i4", "key": key, **data}.items())
    return f'<h1>A lamp</h1><script src="{service}/widget.js" {said}></script><p id="below">Below</p>'


def cards(store: Any) -> list[dict[str, Any]]:
    script = """() => [...document.querySelector('recsys-similar').shadowRoot.querySelectorAll('a')].map((a) => ({
        href: a.getAttribute('href'), name: a.querySelector('.name').textContent,
        alt: a.querySelector('img')?.alt ?? null, lazy: a.querySelector('img')?.loading ?? null }))"""
    found: list[dict[str, Any]] = store.page.evaluate(script)
    return found


def show(visit: Visit, url: str, **options: Any) -> Any:
    store = visit("", at=url, **options)
    store.page.wait_for_selector("recsys-similar a")
    return store


def test_the_widget_is_small() -> None:
    assert len(gzip.compress((STATIC / "widget.js").read_bytes(), 9)) < 8_000


def test_one_tag_shows_similar_products_on_a_strict_page_of_another_origin(
    visit: Visit, other_site: Callable[..., str], locked_shop: Any
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    store = show(visit, other_site(tag(service, keys["widget"], k="4", link="/p/{id}?from=rec"), service=service))
    shown = cards(store)
    assert len(shown) == 4
    for card in shown:
        row = int(card["href"].removeprefix("/p/i").removesuffix("?from=rec"))
        assert row % 2 == 0  # mugs, like the item of the page
        assert card["alt"] == card["name"]
        assert card["name"].endswith(f"mug {row}")
        assert card["lazy"] == "lazy"
    store.until("document.querySelector('recsys-similar').shadowRoot.querySelector('img').naturalWidth > 0")
    inside = """[...document.querySelector('recsys-similar').shadowRoot.querySelectorAll('img')].every((image) => {
        const [own, tile] = [image, image.parentElement].map((e) => e.getBoundingClientRect());
        return own.top >= tile.top && own.bottom <= tile.bottom && own.width > 50; })"""
    assert store.page.evaluate(inside)  # whole pictures, not cut ones
    order = "[...document.body.children].map((e) => e.localName).join()"
    assert store.page.evaluate(order) == "h1,script,recsys-similar,p"
    store.keep_screenshot("widget")


def test_the_styles_of_the_page_and_of_the_widget_stay_apart(
    visit: Visit, other_site: Callable[..., str], locked_shop: Any
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    store = show(visit, other_site(tag(service, keys["widget"]), service=service))
    style = (
        """sheet => { const own = new CSSStyleSheet(); own.replaceSync(sheet); document.adoptedStyleSheets = [own]; }"""
    )
    store.page.evaluate(style, HOSTILE_STYLE)
    name = "getComputedStyle(document.querySelector('recsys-similar').shadowRoot.querySelector('.foot'))"
    assert store.page.evaluate(f"{name}.display") == "flex"
    assert store.page.evaluate(f"{name}.fontSize") != "40px"
    list_ = "getComputedStyle(document.querySelector('recsys-similar').shadowRoot.querySelector('ul')).display"
    assert store.page.evaluate(list_) == "grid"


def test_clicks_and_what_was_on_screen_are_told_with_the_answer_and_leave_taste_to_clicks(
    visit: Visit,
    other_site: Callable[..., str],
    locked_shop: Any,
    events_of: Callable[[str], list[dict[str, str]]],
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    store = show(visit, other_site(tag(service, keys["widget"], k="3", user="ann"), service=service))
    wait_until(store, lambda: len([e for e in events_of("ann") if e["event_type"] == "viewable"]) == 3)
    viewable = [event for event in events_of("ann") if event["event_type"] == "viewable"]
    first = cards(store)[0]["href"].removeprefix("?item=")
    store.page.evaluate("document.querySelector('recsys-similar').addEventListener('click', (e) => e.preventDefault())")
    store.page.click("recsys-similar a")
    wait_until(store, lambda: any(event["event_type"] == "click" for event in events_of("ann")))
    click = next(event for event in events_of("ann") if event["event_type"] == "click")
    assert click["item_id"] == first
    assert len({event["recommendation_id"] for event in [click, *viewable]}) == 1
    headers = {"x-api-key": keys["owner"]}
    known = store.page.request.get(f"{service}/v1/users/ann", headers=headers).json()["events"]
    assert [(event["event_type"], event["item_id"]) for event in known] == [("click", first)]


def test_what_is_below_the_fold_is_not_told_as_seen_until_it_is_scrolled_to(
    visit: Visit,
    other_site: Callable[..., str],
    locked_shop: Any,
    events_of: Callable[[str], list[dict[str, str]]],
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    tall = "<p>" + "<br>" * 200 + "</p>"
    store = show(visit, other_site(tall + tag(service, keys["widget"], k="2", user="bob"), service=service))
    store.page.wait_for_timeout(2500)
    assert events_of("bob") == []
    store.page.evaluate("document.querySelector('recsys-similar').scrollIntoView()")
    wait_until(store, lambda: len(events_of("bob")) == 2)


def test_the_widget_can_be_used_by_keyboard_and_its_words_stand_out_in_both_themes(
    visit: Visit, other_site: Callable[..., str], locked_shop: Any
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    for theme in ("light", "dark"):
        store = show(visit, other_site(tag(service, keys["widget"], k="2", theme=theme), service=service))
        store.page.keyboard.press("Tab")
        active = "document.activeElement.shadowRoot.activeElement"
        assert store.page.evaluate(f"{active}.localName") == "a"
        assert store.page.evaluate(f"getComputedStyle({active}).outlineStyle") == "solid"
        assert store.page.evaluate(CONTRASTS) == []
        store.keep_screenshot(f"widget-{theme}")
        fits = "document.querySelector('recsys-similar').scrollWidth <= innerWidth"
        store.page.set_viewport_size({"width": 320, "height": 700})
        assert store.page.evaluate(fits)


def test_a_wrong_key_or_item_leaves_the_page_as_it_was_and_says_why(
    visit: Visit, other_site: Callable[..., str], locked_shop: Any
) -> None:
    service, keys = locked_shop.url, locked_shop.keys
    for body, why in (
        (tag(service, "rk_wrong"), "not known"),
        (tag(service, keys["widget"], item="none such"), "no item 'none such'"),
    ):
        store = visit("", at=other_site(body, service=service))
        store.page.wait_for_timeout(50)
        wait_until(store, lambda why=why, store=store: any(why in said for said in store.complaints))
        assert store.page.locator("recsys-similar").count() == 0
        assert store.page.locator("#below").is_visible()
        store.complaints.clear()


def wait_until(store: Any, true: Callable[[], bool], timeout_ms: int = 15_000) -> None:
    """Wait while the page goes on."""
    for _ in range(timeout_ms // 50):
        if true():
            return
        store.page.wait_for_timeout(50)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def events_of(locked_shop: Any) -> Iterator[Callable[[str], Any]]:
    """What the event stream holds of a shopper, oldest first."""
    with redis.Redis.from_url(locked_shop.redis_url, decode_responses=True) as client:
        yield lambda user: [fields for _, fields in client.xrange("rs:events") if fields["user_id"] == user]


CONTRASTS = """(() => {
  const linear = (c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const root = document.querySelector('recsys-similar').shadowRoot;
  const paper = light(numbers(getComputedStyle(root.querySelector('section')).backgroundColor));
  return [...root.querySelectorAll('h2, .name, .foot span')].filter((e) => {
    const ink = light(numbers(getComputedStyle(e).color));
    return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05) < 4.5; }).map((e) => e.className); })()"""
"""Words of the widget whose contrast is below 4.5:1 (WCAG 2.1, 1.4.3)."""
