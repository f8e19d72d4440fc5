"""Filter expressions as trees: `price < 50 and brand in ("Acme", "Bolt") and not tag:adult`.

    expression := conjunction ("or" conjunction)*
    conjunction := factor ("and" factor)*
    factor := "not" factor | "(" expression ")" | test
    test := "available" | "has" "(" field ")" | "same" "(" field ")"
          | field ("=" | "!=" | ":" | "<" | "<=" | ">" | ">=") value
          | field ["not"] "in" "(" value ("," value)* ")"
          | field ["not"] ("under" | "contains") value
    field := name | `name with spaces` | "age" | "age" "(" field ")"
    value := number, days as 30d, hours as 12h, weeks as 2w | "text" | 'text' | bare-word | @user

Written by hand and evaluated by `compiled.py`: nothing of it ever runs as code. Length and depth are bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from recsys.rules.nodes import USER, Among, And, Compare, Contains, Field, Has, Node, Not, Or, Same, Under, Value
from recsys.rules.tokens import ExpressionError, Token, tokens

MAX_DEPTH = 32
"""Parentheses and nots within one another."""
MAX_TESTS = 500
"""Tests, and values of lists, in one expression."""
UNITS_S = {"h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}

KEYWORDS = ("and", "or", "not", "in", "under", "contains")
"""Bare words that are neither field nor value; quoted they are."""


def parse(text: str) -> Node:
    """Read an expression.

    Raises:
        ExpressionError: it breaks the grammar, or a bound; the message names place and token.
    """
    reader = _Reader(text)
    node = reader.expression(0)
    reader.expect(reader.next.kind == "end", '"and", "or" or the end')
    return node


class _Reader:
    """A recursive descent over the tokens; each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._tests = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def expect(self, holds: bool, rule: str) -> None:
        if not holds:
            token = self.next
            raise ExpressionError(f"expected {rule}", self._text, token.place, token.text or "the end")

    def expression(self, depth: int) -> Node:
        return self._chain("or", Or, self._conjunction, depth)

    def _conjunction(self, depth: int) -> Node:
        return self._chain("and", And, self._factor, depth)

    def _chain(self, word: str, kind: type[And] | type[Or], part: Callable[[int], Node], depth: int) -> Node:
        """Parts joined by one word, as a balanced tree: a long chain is not a deep one."""
        parts = [part(depth)]
        while self.next.is_word(word):
            self._take()
            parts.append(part(depth))
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [kind(left, right) for left, right in pairs] + ([parts[-1]] if len(parts) % 2 else [])
        return parts[0]

    def _factor(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            token = self.next
            rule = f"parentheses and nots may be nested {MAX_DEPTH} deep at most"
            raise ExpressionError(rule, self._text, token.place, token.text)
        if self.next.is_word("not"):
            self._take()
            return Not(self._factor(depth + 1))
        if self.next.is_sign("("):
            self._take()
            inner = self.expression(depth + 1)
            self._sign(")")
            return inner
        return self._test()

    def _test(self) -> Node:
        self._count()
        token = self.next
        called = self._tokens[min(self._at + 1, len(self._tokens) - 1)].is_sign("(")
        if token.is_word("has", "same") and called:
            kind = Has if token.is_word("has") else Same
            self._take()
            self._sign("(")
            field = self._field()
            self._sign(")")
            return kind(field)
        field = self._field()
        if token.is_word("available") and not self.next.is_sign("=", "!=", ":"):
            return Among(field, (Value("true", None, token.place),))
        return self._comparison(field)

    def _comparison(self, field: Field) -> Node:
        negated = self.next.is_word("not")
        if negated:
            self._take()
            self.expect(
                self.next.is_word("in", "under", "contains"), '"in", "under" or "contains" after a field and "not"'
            )
        token = self.next
        node: Node
        if token.is_word("in"):
            node = self._among(field)
        elif token.is_word("under", "contains"):
            self._take()
            node = (Under if token.is_word("under") else Contains)(field, self._value())
        else:
            self.expect(
                token.is_sign("<", "<=", ">", ">=", "=", "!=", ":"),
                "a comparison (<, <=, >, >=, =, !=, :, in, under, contains) after a field",
            )
            self._take()
            value = self._value()
            if token.is_sign("=", "!=", ":"):
                node = Among(field, (value,))
                negated = token.text == "!="
            else:
                if value.number is None:
                    rule = f'expected a number after "{token.text}"'
                    raise ExpressionError(rule, self._text, value.place, value.text)
                node = Compare(field, token.text, value)  # type: ignore[arg-type]
        return Not(node) if negated else node

    def _among(self, field: Field) -> Among:
        self._take()
        self._sign("(")
        values = [self._value()]
        while self.next.is_sign(","):
            self._take()
            self._count()
            values.append(self._value())
        self._sign(")")
        return Among(field, tuple(values))

    def _field(self) -> Field:
        token = self.next
        self.expect(token.kind in ("name", "field") and not token.is_word(*KEYWORDS), "a field")
        self._take()
        if not token.is_word("age"):
            return Field(token.text, token.place)
        if not self.next.is_sign("("):
            return Field("age", token.place, "")
        self._take()
        of = self._field()
        self._sign(")")
        return Field("age", token.place, of.name)

    def _value(self) -> Value:
        token = self.next
        if token.kind == "at":
            self.expect(token.text == USER[1:], "@user")
        else:
            self.expect(token.kind in ("name", "string", "number") and not token.is_word(*KEYWORDS), "a value")
        self._take()
        if token.kind == "at":
            return Value(USER, None, token.place)
        number = None
        if token.kind == "number":
            unit = UNITS_S.get(token.text[-1])
            number = float(token.text) if unit is None else float(token.text[:-1]) * unit
        return Value(token.text, number, token.place)

    def _take(self) -> None:
        self._at += 1

    def _sign(self, sign: str) -> None:
        self.expect(self.next.is_sign(sign), f'"{sign}"')
        self._take()

    def _count(self) -> None:
        self._tests += 1
        if self._tests > MAX_TESTS:
            rule = f"an expression has at most {MAX_TESTS} tests and values"
            raise ExpressionError(rule, self._text, self.next.place, self.next.text)
