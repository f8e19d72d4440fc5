"""Words as they can be compared: of listings, with every name a listing goes by, and of lettering."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import product

from features.lettering.reader import Line

_WORD = re.compile(r"[^\W_]+")
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿가-힯豈-﫿]")
"""Characters of Chinese, Japanese and Korean, where one says about as much as three letters."""
GRAM = 3
"""Letters that are compared at once; of `_UNSPACED` characters two."""


def plain(text: str) -> str:
    """Lower case, without accents, full-width forms and apostrophes."""
    parts = unicodedata.normalize("NFKD", text.casefold().replace("'", "").replace("’", ""))
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))


def words(text: str) -> list[str]:
    """The words of a text in their order; a stretch of Chinese, Japanese or Korean is one word."""
    return _WORD.findall(plain(text))


def run_together(text: str) -> str:
    """Letters and digits alone."""
    return "".join(words(text))


def names(title: str) -> list[list[str]]:
    """What a title may look like on a picture, as lists of words: what stands outside brackets, and in each of them.

    "Shanghai Triad (Yao a yao) (1995)" may be lettered either way. Brackets of digits alone, such as a year, are not
    lettered; of a title with nothing else, all words are its name.
    """
    title = unicodedata.normalize("NFKC", title)  # full-width brackets are brackets
    inside = [words(part) for part in _BRACKETS.findall(title)]
    found = [words(_BRACKETS.sub(" ", title)), *(part for part in inside if not "".join(part).isdecimal())]
    return [name for name in found if name] or [name for name in (words(title),) if name]


def grams(word: str) -> set[str]:
    """Every `GRAM` letters in a row of a word; a shorter word as a whole, told apart from parts of longer ones."""
    n = GRAM - 1 if _UNSPACED.search(word) else GRAM
    return {word[at : at + n] for at in range(len(word) - n + 1)} or {f" {word} "}


def lettering_grams(lines: Sequence[Line]) -> set[str]:
    """The grams of lettering, across spaces, which readers often lose, and from one line to the next; and short words
    as a whole.

    Every character may also be one of those that the reader held possible.
    """
    places: list[list[str]] = []
    short: set[str] = set()
    for line in lines:
        short |= {f" {word} " for word in words(line.text) if len(word) < GRAM}
        for character, other in zip(line.text, line.doubts, strict=True):
            likely = [run_together(one) for one in (character, *other)]
            if likely[0]:  # no letter or digit: a gap
                places.append([one for one in dict.fromkeys(likely) if one])
    found = {"".join(some) for at in range(len(places) - GRAM + 1) for some in product(*places[at : at + GRAM])}
    pairs = ("".join(some) for at in range(len(places) - GRAM + 2) for some in product(*places[at : at + GRAM - 1]))
    return found | short | {pair for pair in pairs if _UNSPACED.search(pair)}


def letters(word: str) -> int:
    """Length of a word in letters; a character of `_UNSPACED` counts as three."""
    return len(word) + 2 * len(_UNSPACED.findall(word))
