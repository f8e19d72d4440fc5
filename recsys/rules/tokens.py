"""The words of a filter expression, each with the place where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from features.errors import InputError

MAX_CHARS = 4_000
"""A longer expression is refused before it is read."""

Kind = Literal["name", "field", "string", "number", "sign", "at", "end"]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?<![\w.])-?\d+(?:\.\d+)?(?:[dhw](?!\w))?(?![\w.]))
    | (?P<string>"[^"]*"|'[^']*')
    | (?P<field>`[^`]+`)
    | (?P<at>@\w+)
    | (?P<name>[^\W\d][\w.-]*|\d[\w.-]*)
    | (?P<sign><=|>=|!=|[<>=:(),])
    """,
    re.VERBOSE,
)


class ExpressionError(InputError):
    """A filter expression cannot be used.

    Args:
        rule: what must be there.
        text: the expression.
        place: where it breaks the rule, characters from its beginning.
        found: what stands there.
    """

    def __init__(self, rule: str, text: str, place: int, found: str) -> None:
        around = text[max(0, place - 20) : place + 20].replace("\n", " ")
        super().__init__(f"character {place + 1}: {rule}, got {found[:40]!r} in {around!r}")
        self.rule, self.place, self.found = rule, place, found


@dataclass(frozen=True)
class Token:
    """One word.

    Args:
        kind: "name" for a bare word, "field" for one in backticks, "at" for one after an @, "sign" for punctuation.
        text: without quotes, backticks and the @.
        place: characters before it.
    """

    kind: Kind
    text: str
    place: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these key words, whatever its case."""
        return self.kind == "name" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.kind == "sign" and self.text in signs


def tokens(text: str) -> list[Token]:
    """The words of an expression; the last one is of kind "end".

    Raises:
        ExpressionError: it is longer than `MAX_CHARS`, or holds a character that begins no word.
    """
    if len(text) > MAX_CHARS:
        raise ExpressionError(f"an expression has at most {MAX_CHARS} characters", text, MAX_CHARS, text[MAX_CHARS:])
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            rule = "a quote must be closed" if text[place] in "\"'`" else "a word, a number, a quoted text or a sign"
            raise ExpressionError(rule, text, place, text[place:])
        kind = match.lastgroup
        if kind in ("string", "field"):
            found.append(Token(kind, match.group()[1:-1], place))  # type: ignore[arg-type]
        elif kind == "at":
            found.append(Token("at", match.group()[1:], place))
        elif kind != "space":
            found.append(Token(kind, match.group(), place))  # type: ignore[arg-type]
        place = match.end()
    return [*found, Token("end", "", len(text))]
