"""What the pages say: their pieces of code, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CODE = re.compile(r"^(?: {4}|\t).*$|`([^`]+)`", re.MULTILINE)
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(page: Path) -> Iterator[str]:
    """Every line of a code block and every piece of code in a sentence, its line breaks taken out."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    for found in CODE.finditer(FENCE.sub("", text)):
        yield " ".join((found[1] or found[0]).split())


def simple_commands(snippet: str) -> Iterator[list[str]]:
    """The words of each command of a line, as a shell would take them, up to a comment, a gap or where output goes.

    What a shell would not take is split at spaces; variables set before a command, `sudo -u NAME` and the brackets
    around what may be left out are taken away.
    """
    told = re.split(r"\s#\s|\s{3,}|\s>\s", snippet.strip())[0]
    for command in re.split(r";\s+|\s&&\s", told):
        try:
            words = shlex.split(command)
        except ValueError:
            words = command.split()
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words[:2] == ["sudo", "-u"]:
            words = words[3:]
        if words:
            yield [re.sub(r"^\[(?=-)|(?<!\[)[\],;:.)]+$", "", word) if "=[" not in word else word for word in words]


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every command of a page's snippets, and the snippet."""
    for snippet in snippets(page):
        for words in simple_commands(snippet):
            yield snippet, words
