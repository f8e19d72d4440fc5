from __future__ import annotations

import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from rich.console import Console

from recsys.console import results_table
from recsys.report import write_report
from recsys.report_plots import Bar, bar_plot, histogram, line_plot, nice_ticks
from recsys.split import SplitConfig

FAMILIES = ("recall", "ndcg", "map", "mrr", "hit", "coverage", "novelty")


def model(value: float | None, *, cold_users: int = 0) -> dict[str, Any]:
    """A model with one value for every metric."""
    values = {f"{family}@{k}": value for family in FAMILIES for k in (10, 20)}
    ends = None if value is None else [round(value - 0.01, 6), round(value + 0.01, 6)]
    intervals = {name: ends for name in values if not name.startswith("coverage")} if ends else {}
    segments = {"cold_users": {**values, "n_users": cold_users, "n_pairs": cold_users}}
    for segment in ("cold_items", "cold_items_among_cold"):
        segments[segment] = {**dict.fromkeys(values), "n_users": 0, "n_pairs": 0}
    return {
        "test": values,
        "valid": values,
        "intervals": {"test": intervals},
        "segments": {"test": segments},
        "segment_intervals": {"test": {"cold_users": intervals}},
        "n_users": {"test": 0 if value is None else 50},
        "n_pairs": {"test": 70},
        "notes": {"test": ["every item has a training event: there are no cold items"]},
        "params": {"factors": 64},
        "fit_s": 3.25,
    }


def evaluation(lead: list[float | None] | None = None, **models: dict[str, Any]) -> dict[str, Any]:
    models = models or {"gnn": model(0.31, cold_users=4), "als": model(0.25, cold_users=4), "random": model(0.02)}
    return {
        "split": "split-warm",
        "split_summary": {"name": "split-warm", "n_users": 60, "n_items": 3255, "test_pairs": 70, "test_users": 50},
        "protocol": "Every model learns from the training events alone.",
        "config": {"ks": [10, 20], "cold_user_max_events": 5},
        "models": models,
        "lead": {"of": "gnn", "over": {"als": {"recall@20": lead or [0.06, 0.05, 0.07]}}},
    }


HISTORY = [{"epoch": n, "loss": 1 / n, "recall@20": 0.3 - abs(n - 4) / 50} for n in range(1, 9)]


class Page(HTMLParser):
    """Tags, their attributes and the text of a page; fails on a tag that is not closed."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(tmp_path: Path, data: dict[str, Any], **more: Any) -> tuple[Page, str]:
    path = tmp_path / "deep" / "report.html"
    write_report(path, data, **more)
    text = path.read_text(encoding="utf-8")
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html"]
    return Page(text), text


def test_the_page_holds_every_model_with_its_values_and_intervals(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, evaluation(), shop_summary={"name": "Posters"})
    for shown in ("GNN", "ALS", "Random", "0.3100", "0.3000–0.3200", "0.2500", "Posters", "3,255", "factors 64"):
        assert shown in page.text, shown
    assert "Split: split-warm" in page.text
    assert "learns from the training events alone" in page.text
    assert "there are no cold items" in page.text


@pytest.mark.parametrize("kind", get_args(SplitConfig.model_fields["kind"].annotation))
def test_a_split_that_was_made_is_told_in_plain_words(tmp_path: Path, kind: str) -> None:
    page, _ = page_of(tmp_path, evaluation() | {"split": kind})
    assert re.search(rf"Split: {kind}: .+ held out", page.text)


def test_the_best_value_is_marked_in_words_too(tmp_path: Path) -> None:
    _, text = page_of(tmp_path, evaluation())
    assert '<strong>0.3100</strong><span class="hidden"> (best)</span>' in text
    assert "<strong>0.2500" not in text


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        ([0.06, 0.05, 0.07], "ahead of the best of the others, ALS, by 0.0600 (95% interval 0.0500 to 0.0700)"),
        ([0.01, -0.01, 0.02], "cannot be told apart from ALS: the gap is 0.0100"),
        ([-0.06, -0.07, -0.05], "ALS does better, by 0.0600 (95% interval 0.0500 to 0.0700)"),
    ],
)
def test_the_headline_says_no_more_than_the_interval_allows(
    tmp_path: Path, lead: list[float | None], said: str
) -> None:
    page, _ = page_of(tmp_path, evaluation(lead))
    assert said in page.text


def test_a_page_without_held_out_pairs_says_so_and_shows_no_zero(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, evaluation(gnn=model(None), als=model(None)))
    assert "no held-out choices to judge by" in page.text
    assert "n/a" in page.text
    assert "0.0000" not in page.text
    assert "Cold items, in the whole catalog: no such users or pairs" in page.text


def test_a_page_of_an_empty_evaluation_is_written(tmp_path: Path) -> None:
    data = evaluation() | {"models": {}, "lead": {"of": None, "over": {}}}
    page, _ = page_of(tmp_path, data)
    assert "no held-out choices" in page.text


def test_outside_text_is_escaped_everywhere(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>$body'
    gnn = model(0.3, cold_users=2)
    gnn["params"] = {evil: evil}
    gnn["notes"] = {"test": [evil]}
    data = evaluation(**{"gnn": gnn, evil: model(0.2, cold_users=2)})
    data["split"] = data["protocol"] = evil
    data["split_summary"]["name"] = evil
    page, text = page_of(
        tmp_path, data, shop_summary={"name": evil, "note": evil}, match_report={"why": evil}, training_history=HISTORY
    )
    assert page.all("script") == []
    assert "<script" not in text
    assert evil in page.text


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page, text = page_of(tmp_path, evaluation(), training_history=HISTORY, match_report={"scores": [0.1, 0.9]})
    outside = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert outside == ["data:,"]
    assert not re.search(r"url\(|@import|https?:", text)


def test_every_picture_and_table_has_words_for_those_who_do_not_see_it(tmp_path: Path) -> None:
    page, text = page_of(tmp_path, evaluation(), training_history=HISTORY, match_report={"scores": [0.1, 0.9]})
    labels = [attributes.get("aria-label") or "" for attributes in page.all("svg")]
    assert len(labels) == 6  # recall, ndcg, cold users, learning, loss, agreement
    assert "recall@20 on test: GNN 0.3100; ALS 0.2500; Random 0.0200" in labels
    assert "recall@20 on validation: from 0.2400 to 0.2200; best 0.3000 at epoch 4" in labels
    assert "Agreement of picture and words, items: 2 values, 1 of them below 0.5" in labels
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert '<html lang="en">' in text
    assert "prefers-color-scheme: dark" in text


def test_facts_about_the_shop_are_listed_but_not_where_it_lies(tmp_path: Path) -> None:
    summary = {
        "name": "Posters",
        "path": "/home/somebody/shop",
        "events": {"view": 12345, "like": 7},
        "modalities": {"image": {"items": 40, "share": 0.5}},
        "remarks": ["half of the items have no picture"],
        "date_range": None,
    }
    page, text = page_of(tmp_path, evaluation(), shop_summary=summary)
    for shown in ("events: view", "12,345", "modalities: image: share", "half of the items have no picture"):
        assert shown in page.text, shown
    assert "somebody" not in text
    assert "date range" not in page.text


def test_the_page_fits_a_phone_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    write_report(path, evaluation(), training_history=HISTORY, match_report={"scores": [0.1, 0.9]})
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme="dark")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        plots = page.locator("svg")
        assert plots.count() == 6
        assert all(plots.nth(n).bounding_box()["width"] > 250 for n in range(6))  # type: ignore[index]
        browser.close()
    assert asked == [path.as_uri()]
    assert complaints == []


def test_bars_are_as_long_as_their_values() -> None:
    svg = bar_plot("t", [Bar("a", 0.4, (0.3, 0.5), own=True), Bar("b", 0.1), Bar("c", math.nan)])
    lengths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', svg)]
    assert len(lengths) == 2
    assert lengths[0] / lengths[1] == pytest.approx(4, rel=0.01)
    assert svg.count('class="whisker"') == 1
    assert svg.count('class="own"') == 1
    assert "n/a" in svg


def test_a_gap_in_the_line_where_a_value_is_undefined() -> None:
    svg = line_plot("t", [1, 2, 3, 4, 5], [0.1, 0.2, math.nan, 0.3, 0.4], x_label="epoch")
    path = re.findall(r'class="line" d="([^"]+)"', svg)[0]
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_a_histogram_counts_the_known_values() -> None:
    svg = histogram("t", [0.0, 0.04, 0.5, 1.0, math.nan], bins=20)
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"/>', svg)]
    assert np.flatnonzero(heights).tolist() == [0, 10, 19]
    assert heights[0] == pytest.approx(2 * heights[10])


@pytest.mark.parametrize(("high", "expected"), [(0.42, [0, 0.2, 0.4]), (7, [0, 2, 4, 6]), (0, [0, 1])])
def test_ticks_are_round_numbers(high: float, expected: list[float]) -> None:
    assert nice_ticks(high) == pytest.approx(expected)


def test_the_terminal_table_has_a_row_a_model_and_fits_80_columns(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as nowhere:
        console = Console(width=80, record=True, file=nowhere)
        gnn = model(0.31)
        gnn["segments"]["test"]["cold_items"]["recall@20"] = 0.1234
        console.print(results_table(evaluation(gnn=gnn, item_knn=model(0.25), random=model(0.02))))
    lines = [line.split() for line in console.export_text().splitlines() if "0." in line]
    assert [line[0] for line in lines] == ["GNN", "Item", "Random"]
    assert lines[0][1:] == ["0.3100", ".300-.320", *["0.3100"] * 4, "0.31", "0.31", "0.1234"]
    assert lines[1][:3] == ["Item", "neighbors", "0.2500"]
