from __future__ import annotations

import pytest
import structlog

from features import progress


def test_tracking_hands_on_every_item_in_order() -> None:
    assert list(progress.track(iter("abc"), "letters")) == ["a", "b", "c"]


def test_without_a_terminal_a_line_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with structlog.testing.capture_logs() as lines, progress.bar("counting", total=4) as bar:
        bar.advance()
        bar.note("half way")
        bar.advance(2)
    assert [(line["event"], line["done"], line["of"], line.get("note")) for line in lines] == [
        ("counting", "1", "4", None),
        ("counting", "3", "4", "half way"),
    ]


def test_lines_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 3600.0)
    with structlog.testing.capture_logs() as lines:
        list(progress.track(range(1000), "quick"))
    assert lines == []
