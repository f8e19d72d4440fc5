"""From a text to the terms it is found by: European words, and Chinese, Japanese and Korean characters.

European texts are cut at whatever is no letter or digit; a hyphenated or apostrophed word counts in parts and as one,
so that "t-shirt" finds "tshirt", and so does a word with digits, so that "42mm" finds "42 mm". Accents and case are
dropped and plurals folded. The scripts that write no spaces are cut into single characters and overlapping pairs, which
needs no dictionary and serves retrieval as well as one (Nie and Ren, 1999).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_CJK = (
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff"  # iteration mark, zero, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # Hangul
)
_WORD = rf"[^\W_{_CJK}]+"
_RUNS = re.compile(rf"(?P<cjk>[{_CJK}]+)|(?P<word>{_WORD}(?:[-'’]{_WORD})*)")
_PARTS = re.compile(r"[^-'’]+")
_DIGITS_OR_LETTERS = re.compile(r"\d+|\D+")
_FUNCTION_WORDS = (
    "a an and are as at be but by for from had has have he her his i if in into is it its me my no not of on or our "
    "she so some than that the their them then there these they this to up was we were what which who will with you "
    "your"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that hold a sentence together; nobody looks for them, and titles are too short to make them common."""


@dataclass(frozen=True)
class Term:
    """A term and the place in the normalized text that it stands for.

    Args:
        text: as it is indexed.
        start, end: its place, half open.
    """

    text: str
    start: int
    end: int


def normalized(text: str) -> str:
    """Compatibility forms made one (NFKC: full-width letters, ligatures) and case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


def terms(text: str) -> list[Term]:
    """The terms of a text, in order; a run of characters without spaces gives its pairs and its single ones."""
    found: list[Term] = []
    for run in _RUNS.finditer(normalized(text)):
        if run.lastgroup == "cjk":
            found.extend(_characters(run.group(), run.start()))
        else:
            found.extend(_word(run.group(), run.start()))
    return found


def asked_terms(text: str) -> list[Term]:
    """The terms that a query asks for: without function words, unless it has no others."""
    found = terms(text)
    return [term for term in found if term.text not in FUNCTION_WORDS] or found


def _characters(run: str, start: int) -> list[Term]:
    singles = [Term(sign, start + place, start + place + 1) for place, sign in enumerate(run)]
    pairs = [Term(run[place : place + 2], start + place, start + place + 2) for place in range(len(run) - 1)]
    return singles + pairs


def _word(word: str, start: int) -> list[Term]:
    end = start + len(word)
    parts = [(part.group(), start + part.start(), start + part.end()) for part in _PARTS.finditer(word)]
    if len(parts) == 2 and parts[1][0] == "s":  # a possessive
        parts = parts[:1]
    elif len(parts) > 1:
        parts.append(("".join(part for part, _, _ in parts), start, end))
    found = [Term(_folded(part), first, last) for part, first, last in parts]
    for part, first, last in parts:
        pieces = _DIGITS_OR_LETTERS.findall(part)
        if len(pieces) > 1 and last - first == len(part):
            found.extend(Term(_folded(piece), first, last) for piece in pieces)
    return found


def _folded(word: str) -> str:
    """Without accents, and a plural as its singular by the weak stemmer of Harman (1991)."""
    if not word.isascii():
        plain = unicodedata.normalize("NFKD", word)
        word = "".join(sign for sign in plain if not unicodedata.combining(sign)) or word
    if len(word) < 4 or word[-1] != "s" or not word.isalpha():
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith(("us", "ss", "is")):
        return word
    return word[:-1]


def shown_spans(text: str, found: list[Term]) -> list[str]:
    """The parts of a normalized text that some terms stand for, overlapping ones as one, in order."""
    spans: list[tuple[int, int]] = []
    for term in sorted(found, key=lambda term: (term.start, -term.end)):
        if spans and term.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], term.end))
        else:
            spans.append((term.start, term.end))
    plain = normalized(text)
    return [plain[start:end] for start, end in spans]
