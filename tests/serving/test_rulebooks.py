"""Columns of rules are kept for the bundles that are answered from, or may be soon, and for no others."""

from __future__ import annotations

from pathlib import Path

from recsys.bundle import Bundle
from recsys.rules.model import RuleSet
from serving.rulebooks import RuleBooks

RULES = RuleSet.read({"rules": [{"name": "cheap", "hide": "price < 1"}]}, "rules")


def test_columns_of_a_bundle_that_was_opened_and_given_up_are_dropped(small_bundle: Path, changed_bundle: Path) -> None:
    books, live, coming = RuleBooks(), Bundle.open(small_bundle), Bundle.open(changed_bundle)
    for bundle in (live, coming):
        books.of(bundle, 1, RULES)
    assert books.forget([live]) == []  # the other one may be about to be answered from
    version = coming.version
    del coming, bundle
    assert len(books.forget([live])) == 1
    assert books._trained.keys() == {live.version}
    assert version != live.version
    assert books.forget([live]) == []
