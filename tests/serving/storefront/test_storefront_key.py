"""The storefront of a service that asks for API keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_a_locked_service_asks_for_a_key_once_and_then_shows_the_shop(
    visit: Callable[..., Any], locked_shop: Any
) -> None:
    url, keys = locked_shop.url, locked_shop.keys
    store = visit(at=url)
    store.page.wait_for_selector("#key-sheet[open]")
    assert "API key is needed" in store.page.inner_text("#key-why")
    store.keep_screenshot("key")
    store.page.fill("#key", "rk_wrong")
    store.page.keyboard.press("Enter")
    store.page.wait_for_selector("#key-why:has-text('not known')")
    store.page.fill("#key", keys["owner"])
    store.page.keyboard.press("Enter")
    store.wait_for_home()
    assert store.page.locator("#key-sheet").is_hidden()
    store.page.click(".grid .card a")
    store.wait_for_product()
    store.page.reload()
    store.wait_for_product()
    assert all("401" in complaint for complaint in store.complaints)
    store.complaints.clear()  # the browser reports each refusal
