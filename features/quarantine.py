"""Where every refused row and picture goes: nothing is dropped in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from features.aside import replacing

LONGEST_VALUE = 200
"""Characters kept of a refused value."""


@dataclass(frozen=True)
class Refusal:
    """One thing that was not taken.

    Args:
        file: name of the table, or of the picture.
        row: position in the file counted from 0 (a header is not counted), or the item's row; None for a whole file.
        rule: the rule that was broken, in words.
        value: what broke it, as its repr, at most 200 characters.
    """

    file: str
    row: int | None
    rule: str
    value: str


class Quarantine:
    """Collects what was refused, counts it by rule, and writes it as JSON lines."""

    def __init__(self) -> None:
        self._refusals: list[Refusal] = []
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """Number of refusals by rule, the most frequent first."""
        return dict(self._counts.most_common())

    @property
    def total(self) -> int:
        """Number of refusals."""
        return len(self._refusals)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Everything refused, in order."""
        return tuple(self._refusals)

    def refuse(self, file: str, row: int | None, rule: str, value: object) -> None:
        """Take note of one refusal.

        Args:
            file: name of the file.
            row: position in the file counted from 0, None where the whole file is meant.
            rule: the rule that was broken.
            value: the value that broke it.
        """
        self._refusals.append(Refusal(file, row, rule, _spell(value)))
        self._counts[rule] += 1

    def refuse_all(self, file: str, rows: Iterable[int], rule: str, values: Iterable[object]) -> None:
        """Take note of many refusals of one rule, a row and a value each."""
        for row, value in zip(rows, values, strict=True):
            self.refuse(file, row, rule, value)

    def write(self, path: Path) -> None:
        """Write one JSON object a line: file, row, rule, value. An empty file says that nothing was refused.

        Args:
            path: the file; its folder is made, and an older file is replaced at once.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as lines:
            for refusal in self._refusals:
                lines.write(json.dumps(vars(refusal), ensure_ascii=False) + "\n")


def _spell(value: object) -> str:
    """The value's repr, cut in the middle of nowhere if need be; text that no file can hold is escaped."""
    spelled = repr(value[: LONGEST_VALUE + 1] if isinstance(value, str | bytes) else value)
    spelled = spelled.encode("utf-8", "backslashreplace").decode("utf-8")
    return spelled if len(spelled) <= LONGEST_VALUE else spelled[: LONGEST_VALUE - 1] + "…"
