"""What the pages name is there: files and links, and the figures of the README in the results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, PAGES, ROOT, snippets

ROOMS = ("", "features", "graph", "recsys", "recsys/models", "serving", "tests", "benchmarks")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_link_on_a_page_is_there(page: Path) -> None:
    files = [one for one in snippets(page) if re.fullmatch(r"[\w./-]+/[\w.-]+\.(py|md|json|toml|html)", one)]
    gone = [one for one in files if one.endswith(".py") and not any((ROOT / room / one).is_file() for room in ROOMS)]
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        file = page.parent / place if place else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            gone.append(target)
    assert not gone


def anchors(page: Path) -> set[str]:
    """Of the headings, as they are made of them where the pages are shown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_figures_in_the_first_table_of_the_readme_are_those_of_the_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| recall@20") :].partition("\n\n")[0]
    results = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    figures = re.findall(r"\.\d{4}\b", table)
    assert len(figures) >= 14
    assert [figure for figure in figures if figure not in results] == []
