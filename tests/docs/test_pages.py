"""What the pages name is there: commands with their options, benchmarks with theirs, files, and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from recsys.cli import build_app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ROOMS = ("", "features", "graph", "recsys", "recsys/models", "serving", "tests", "benchmarks")
CODE = re.compile(r"^(?: {4}|\t).*$|`([^`]+)`", re.MULTILINE)
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(page: Path) -> Iterator[str]:
    """Every line of a code block and every piece of code in a sentence, its line breaks taken out."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    for found in CODE.finditer(FENCE.sub("", text)):
        yield " ".join((found[1] or found[0]).split())


def words_of(snippet: str) -> list[str]:
    """As a shell would take them, up to a comment; what it would not take is split at spaces."""
    told = re.split(r"\s#\s|\s{3,}", snippet.strip())[0]
    try:
        return shlex.split(told)
    except ValueError:
        return told.split()


@cache
def commands() -> Any:
    return typer.main.get_command(build_app())


def options_of(command: Any) -> set[str]:
    return {"--help"}.union(*(set(one.opts) | set(one.secondary_opts) for one in command.params))


def wrong_in_command(words: list[str]) -> list[str]:
    """What is wrong in `recsys NAME ...`; a|b names two commands, and a name in capitals stands for one."""
    here, rest = [commands()], words
    while rest and hasattr(here[0], "commands"):
        names, rest = rest[0], rest[1:]
        if names.startswith("-") or names.isupper():
            return []
        known = [name.strip(",") for name in names.split("|")]
        missing = [name for name in known if name not in here[0].commands]
        if missing:
            return [f"no command {' '.join(missing)}"]
        here = [here[0].commands[name] for name in known]
    options = set[str]().union(*map(options_of, here))
    given = [word.partition("=")[0].rstrip(",;:.)") for word in rest if re.match(r"--?[a-z]", word)]
    return [f"no option {option}" for option in given if option not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_is_there_with_its_options(page: Path) -> None:
    wrong = {}
    for snippet in snippets(page):
        words = words_of(snippet)
        if words and Path(words[0]).name == "recsys" and len(words) > 1:
            wrong[snippet] = wrong_in_command(words[1:])
    assert not {snippet: said for snippet, said in wrong.items() if said}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_benchmark_on_a_page_is_there_with_its_options(page: Path) -> None:
    wrong = []
    for snippet in snippets(page):
        words = words_of(snippet)
        place = next((place for place, word in enumerate(words) if re.search(r"\bbench_\w+\.py$", word)), None)
        if place is None:
            continue
        script = ROOT / "benchmarks" / Path(words[place]).name
        if not script.is_file():
            wrong.append(f"{snippet}: no such script")
            continue
        source = script.read_text(encoding="utf-8").replace("takes_json(", '"--json"')
        for word in words[place + 1 :]:
            option = word.partition("=")[0]
            if option.startswith("--") and f'"{option}"' not in source:
                wrong.append(f"{snippet}: no option {option}")
    assert not wrong


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
