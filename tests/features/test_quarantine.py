from __future__ import annotations

import json
from pathlib import Path

from features.quarantine import LONGEST_VALUE, Quarantine


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_refusal_is_a_line_with_file_row_rule_and_value(tmp_path: Path) -> None:
    quarantine = Quarantine()
    quarantine.refuse("items.csv", 3, "item_id is missing", None)
    quarantine.refuse("images.zip", None, "member path leaves the folder", "../é.jpg")
    quarantine.write(tmp_path / "new" / "quarantine.jsonl")
    assert lines_of(tmp_path / "new" / "quarantine.jsonl") == [
        {"file": "items.csv", "row": 3, "rule": "item_id is missing", "value": "None"},
        {"file": "images.zip", "row": None, "rule": "member path leaves the folder", "value": "'../é.jpg'"},
    ]


def test_refusals_are_counted_by_rule_most_frequent_first() -> None:
    quarantine = Quarantine()
    quarantine.refuse("a", 0, "rare", 1)
    quarantine.refuse_all("a", [1, 2], "frequent", ["x", "y"])
    assert quarantine.total == 3
    assert list(quarantine.counts.items()) == [("frequent", 2), ("rare", 1)]


def test_a_long_value_is_cut_and_bad_unicode_can_be_written(tmp_path: Path) -> None:
    quarantine = Quarantine()
    quarantine.refuse("a", 0, "long", "x" * 10_000)
    quarantine.refuse("a", 1, "surrogate", "\ud800")
    quarantine.write(tmp_path / "q.jsonl")
    long, surrogate = lines_of(tmp_path / "q.jsonl")
    assert len(str(long["value"])) == LONGEST_VALUE
    assert str(long["value"]).startswith("'xxx")
    assert "ud800" in str(surrogate["value"])


def test_writing_replaces_the_older_file_and_leaves_no_other(tmp_path: Path) -> None:
    old = Quarantine()
    old.refuse("a", 0, "old", 1)
    old.write(tmp_path / "q.jsonl")
    Quarantine().write(tmp_path / "q.jsonl")
    assert (tmp_path / "q.jsonl").read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]
