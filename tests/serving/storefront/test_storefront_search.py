"""Searching by words and by pictures, as a visitor does it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

Visit = Callable[..., Any]
RED_MUGS, GREEN_SHOES = {"i0", "i6", "i12", "i18"}, {"i1", "i7", "i13", "i19"}


def search_shown(store: Any, title: str) -> list[str]:
    store.until(f"document.querySelector('h1').textContent === {title!r}")
    store.page.wait_for_selector(".grid .card[data-item]")
    found: list[str] = store.shown(".grid")
    return found


def test_typed_words_are_found_by_letters_and_by_meaning_with_reasons(visit: Visit, search_url: str) -> None:
    store = visit(at=search_url)
    store.wait_for_home()
    store.page.fill("#query", "crimson mug")
    found = search_shown(store, "Results for “crimson mug”")
    assert set(found[:4]) == RED_MUGS
    facts = store.facts(".grid")
    assert facts[0]["reasons"][0] == "words match: mug"
    assert "its words mean what you typed" in facts[0]["reasons"]
    assert store.page.inner_text(".count") == "Best matches first"
    store.keep_screenshot("search-words")
    with store.page.expect_request("**/v1/events") as posted:
        store.page.click(".grid .card a")
    (event,) = posted.value.post_data_json["events"]
    assert event["recommendation_id"] is not None
    store.wait_for_product()
    store.page.go_back()
    assert set(search_shown(store, "Results for “crimson mug”")[:4]) == RED_MUGS


def test_a_chosen_picture_searches_and_can_be_joined_by_words_and_removed(
    visit: Visit, search_url: str, searchable: Path
) -> None:
    store = visit(at=search_url)
    store.wait_for_home()
    with store.page.expect_file_chooser() as chosen:
        store.page.click("#picture-choose")
    chosen.value.set_files(searchable / "shop" / "images" / "i0.png")
    found = search_shown(store, "Results for your picture")
    assert set(found[:4]) == RED_MUGS
    assert store.facts(".grid")[0]["reasons"][0] == "looks like your picture"
    assert store.page.is_visible("#picture-thumb")
    store.until("document.querySelector('#picture-thumb').naturalWidth === 64")
    assert store.run("nameless.js") == []
    assert store.run("faint.js") == []
    store.keep_screenshot("search-picture")
    store.page.fill("#query", "shoe")
    search_shown(store, "Results for “shoe” and your picture")
    store.page.click("#picture-remove")
    found = search_shown(store, "Results for “shoe”")
    assert all(int(item[1:]) % 2 for item in found[:8])
    assert store.page.is_hidden("#picture-shown")
    assert store.page.evaluate("document.activeElement.id") == "query"


def test_a_picture_may_be_dropped_anywhere(visit: Visit, search_url: str, searchable: Path) -> None:
    store = visit(at=search_url)
    store.wait_for_home()
    encoded = base64.b64encode((searchable / "shop" / "images" / "i1.png").read_bytes()).decode()
    store.page.evaluate(
        """async (encoded) => {
            const bytes = Uint8Array.from(atob(encoded), (sign) => sign.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            const given = { dataTransfer: carried, bubbles: true, cancelable: true };
            document.querySelector("main").dispatchEvent(new DragEvent("dragover", given));
            const marked = document.querySelector("#search").classList.contains("dropping");
            document.querySelector("main").dispatchEvent(new DragEvent("drop", given));
            if (!marked) throw new Error("the box does not show that it takes pictures");
        }""",
        encoded,
    )
    found = search_shown(store, "Results for your picture")
    assert set(found[:4]) == GREEN_SHOES
    assert "dropping" not in store.page.get_attribute("#search", "class")


def test_a_file_that_is_no_picture_is_told_in_words(visit: Visit, search_url: str, tmp_path: Path) -> None:
    store = visit(at=search_url)
    store.wait_for_home()
    (tmp_path / "broken.png").write_bytes(b"not a picture at all")
    store.page.set_input_files("#picture-file", tmp_path / "broken.png")
    store.page.wait_for_selector("[role=alert]:has-text('must be a picture')")
    store.complaints.clear()  # the browser reports the 422
    store.page.set_input_files("#picture-file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"})
    store.until("document.querySelector('#toast').textContent === 'That is no picture.'")


def test_a_model_that_cannot_take_pictures_says_so(visit: Visit, searchable: Path) -> None:
    store = visit()
    store.wait_for_home()
    store.page.set_input_files("#picture-file", searchable / "shop" / "images" / "i0.png")
    store.page.wait_for_selector("[role=alert]:has-text('cannot encode pictures')")
    store.complaints.clear()  # the browser reports the 409


def test_results_go_on(visit: Visit) -> None:
    store = visit()
    store.wait_for_home()
    store.page.fill("#query", "mug shoe")
    search_shown(store, "Results for “mug shoe”")
    assert store.page.inner_text(".count") == "59 products"
    store.page.click("text=Load more")
    store.until("document.querySelectorAll('.grid .card').length === 48")
    store.page.click("text=Load more")
    store.until("document.querySelectorAll('.grid .card').length === 59")
    assert len(set(store.shown(".grid"))) == 59
    assert store.page.locator("text=Load more").is_hidden()
