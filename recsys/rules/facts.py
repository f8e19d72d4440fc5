"""The catalog as rules see it: columns that a condition can be put to, all rows at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.pace import give_back
from features.paths import PATH_SEPARATOR
from features.vocabulary import Vocabulary

AGE_ATTRIBUTES = ("added_at", "added", "created_at", "created", "release_date", "released", "published", "date", "year")
"""Attributes taken for the day an item came, where none is named; the first one the catalog has."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SPELLED = re.compile(r"(\d{1,2})[ -]([a-z]{3})[a-z]*[ -](\d{4})")

Lists = Mapping[str, NDArray[np.int64]]
Changes = Mapping[str, Mapping[str, Sequence[int]]]
Pairs = tuple[NDArray[np.int64], NDArray[np.float64]]

_NO_ROWS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Groups:
    """Each item's values of one attribute as numbers, CSR: row i has `codes[indptr[i]:indptr[i + 1]]`.

    Args:
        indptr: int64 [n_items + 1].
        codes: int64 [n].
        names: the value behind each code.
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.int64]
    names: tuple[str, ...]

    @cached_property
    def only(self) -> NDArray[np.int64]:
        """The code of each item that has exactly one, -1 for the others, int64 [n_items]."""
        single = np.diff(self.indptr) == 1
        only = np.full(len(single), -1, dtype=np.int64)
        only[single] = self.codes[self.indptr[:-1][single]]
        return only

    def of(self, row: int) -> list[int]:
        """The codes of one item."""
        codes: list[int] = self.codes[self.indptr[row] : self.indptr[row + 1]].tolist()
        return codes


@dataclass(frozen=True, eq=False)
class GroupsOf(Sequence[Sequence[int]]):
    """The codes of some items, each looked up when it is asked for.

    Args:
        groups: of all items.
        rows: int64 [n]; of these.
    """

    groups: Groups
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        only = self._only[place]
        return (only,) if only >= 0 else self.groups.of(self.rows[place])

    @cached_property
    def _only(self) -> list[int]:
        only: list[int] = self.groups.only.take(self.rows).tolist()
        return only


class Facts:
    """Columns of one catalog. Names and values are compared whatever their case.

    Args:
        items: outside ids; row i of every column belongs to item i.
        displays: one mapping an item, in this order, with `title`, `description`, `price`, `available` and
            `attributes` {name: [values]}, as `Bundle.display`; or what stands in its place.
        texts: whether to keep titles and descriptions, too: they are most of the memory, and few rules ask for them.

    Raises:
        ValueError: there is not one display an item.
    """

    def __init__(self, items: Vocabulary, displays: Iterable[Mapping[str, Any]], *, texts: bool = True) -> None:
        self.items = items
        self.has_texts = texts
        n_items = len(items)
        self.price = np.full(n_items, np.nan)
        self.available = np.ones(n_items, dtype=np.bool_)
        self.title = [""] * n_items if texts else []
        self.description = [""] * n_items if texts else []
        shown_as: dict[str, str] = {}
        lists: dict[str, dict[str, list[int]]] = {}
        row = -1
        for row, shown in enumerate(displays):
            if row >= n_items:
                raise ValueError(f"displays must be one an item ({n_items}), there are more")
            self.write(row, shown)
            for name, values in (shown.get("attributes") or {}).items():
                folded = name.casefold()
                shown_as.setdefault(folded, name)
                by_value = lists.setdefault(folded, {})
                for value in values:
                    rows = by_value.setdefault(value.casefold(), [])
                    if not rows or rows[-1] != row:
                        rows.append(row)
        if row + 1 != n_items:
            raise ValueError(f"displays must be one an item ({n_items}), there are {row + 1}")
        self._take(
            shown_as,
            {
                name: {value: np.array(rows, dtype=np.int64) for value, rows in by_value.items()}
                for name, by_value in lists.items()
            },
        )

    @classmethod
    def of_columns(
        cls,
        items: Vocabulary,
        *,
        price: NDArray[np.float64],
        available: NDArray[np.bool_],
        shown_as: dict[str, str],
        lists: dict[str, Lists],
    ) -> Facts:
        """From columns that were worked out before, without texts.

        Args:
            items: outside ids.
            price: float64 [n_items], NaN where unknown.
            available: bool [n_items].
            shown_as: folded attribute → as the shop writes it.
            lists: folded attribute → folded value → rows that have it, rising.
        """
        facts = cls(Vocabulary(()), (), texts=False)
        facts.items, facts.price, facts.available = items, price, available
        facts._take(shown_as, lists)
        return facts

    def _take(self, shown_as: dict[str, str], lists: dict[str, Lists]) -> None:
        self._shown, self._lists = shown_as, lists
        self._numbers: dict[str, Pairs] = {}
        self._dates: dict[str, Pairs] = {}
        self._groups: dict[tuple[str, int | None], Groups] = {}
        for name in ("age_attribute", "text"):
            self.__dict__.pop(name, None)

    def write(self, row: int, shown: Mapping[str, Any]) -> None:
        """Set what a row has one of; its attributes are `with_values`' matter."""
        price = shown.get("price")
        self.price[row] = np.nan if price is None else price
        self.available[row] = bool(shown.get("available", True))
        if self.has_texts:
            self.title[row] = (shown.get("title") or "").casefold()
            self.description[row] = (shown.get("description") or "").casefold()

    def with_values(self, left: Changes, joined: Changes) -> Facts:
        """The same, where some rows have other attribute values; the columns not named stay shared.

        Args:
            left: attribute → value, both folded → rows that no longer have it.
            joined: attribute → value, both folded → rows that have it now.
        """
        shown_as = {**{name: name for name in joined}, **self._shown}
        lists = dict(self._lists)
        for name in {*left, *joined}:
            by_value = dict(lists.get(name, {}))
            gone, new = left.get(name, {}), joined.get(name, {})
            for value in {*gone, *new}:
                rows = np.setdiff1d(by_value.get(value, _NO_ROWS), gone.get(value, ()))
                by_value[value] = np.union1d(rows, new.get(value, ())).astype(np.int64)
                if not len(by_value[value]):
                    del by_value[value]
            lists[name] = by_value
        changed = copy.copy(self)
        changed._take(shown_as, lists)
        touched = {*left, *joined}
        changed._numbers = {name: kept for name, kept in self._numbers.items() if name not in touched}
        changed._dates = {name: kept for name, kept in self._dates.items() if name not in touched}
        changed._groups = {
            key: kept
            for key, kept in self._groups.items()
            if key[0] not in touched and len(kept.indptr) == len(changed) + 1
        }
        return changed

    def __len__(self) -> int:
        return len(self.items)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that items have, as the shop writes them."""
        return tuple(self._shown.values())

    def values(self, name: str) -> Lists:
        """Rows by value of an attribute, folded; {} where no item has it."""
        return self._lists.get(name.casefold(), {})

    def numbers(self, name: str) -> Pairs:
        """Rows and numbers of an attribute's values that are numbers: int64 [n] and float64 [n]."""
        return self._pairs(name, self._numbers, _number)

    def dates(self, name: str) -> Pairs:
        """Rows and UTC seconds of an attribute's values that are dates: int64 [n] and float64 [n]."""
        return self._pairs(name, self._dates, date_seconds)

    @cached_property
    def age_attribute(self) -> str:
        """The attribute that says when an item came; "" where the catalog has none."""
        return next((name for name in AGE_ATTRIBUTES if len(self.dates(name)[0])), "")

    @cached_property
    def text(self) -> list[str]:
        """Title and description of each item, folded."""
        return [f"{title}\n{more}" for title, more in zip(self.title, self.description, strict=True)]

    def groups(self, name: str, depth: int | None = None) -> Groups:
        """Each item's values of an attribute.

        Args:
            name: the attribute.
            depth: of a path, how many steps count: 1 for "Kitchen" of "Kitchen > Mug"; a shorter path counts whole.
                None: the whole path.
        """
        key = (name.casefold(), depth)
        if key not in self._groups:
            self._groups[key] = self._grouped(*key)
        return self._groups[key]

    def _grouped(self, name: str, depth: int | None) -> Groups:
        lists = self.values(name)
        longer: dict[str, list[NDArray[np.int64]]] = {}  # of each value, the items that have it and go on
        for value, rows in lists.items():
            longer.setdefault(value.rpartition(PATH_SEPARATOR)[0], []).append(rows)
        codes: dict[str, int] = {}
        found, code_of = [np.zeros(0, dtype=np.int64)], [0]
        for value, rows in lists.items():
            whole = np.setdiff1d(rows, np.concatenate(longer[value])) if value in longer else rows
            cut = value if depth is None else PATH_SEPARATOR.join(_steps(value)[:depth])
            if len(whole):
                found.append(whole)
                code_of.append(codes.setdefault(cut, len(codes)))
        n_codes = max(1, len(codes))  # pairs as one number each: rows of two are sorted while no other thread runs
        pairs = np.unique(np.concatenate(found) * n_codes + np.repeat(code_of, [len(rows) for rows in found]))
        return Groups(np.searchsorted(pairs // n_codes, np.arange(len(self) + 1)), pairs % n_codes, tuple(codes))

    def _pairs(self, name: str, kept: dict[str, Pairs], read: Any) -> Pairs:
        folded = name.casefold()
        if folded not in kept:
            read_lists = [(rows, read(value)) for value, rows in self.values(folded).items()]
            good = [(rows, number) for rows, number in read_lists if number is not None]
            kept[folded] = (
                np.concatenate([np.zeros(0, dtype=np.int64), *(rows for rows, _ in good)]),
                np.repeat([number for _, number in good], [len(rows) for rows, _ in good]).astype(np.float64),
            )
        return kept[folded]


def _steps(path: str) -> list[str]:
    return path.split(PATH_SEPARATOR)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def date_seconds(text: str) -> float | None:
    """A date or a time in ISO 8601, 1 Aug 1997 or 01-Aug-1997, a year, or UTC seconds since 1970; UTC where no zone is
    given. Dates whose day and month could be taken for one another are none.
    """
    if len(text) == 4 and text.isdigit():
        text = f"{text}-01-01"
    elif (spelled := _SPELLED.fullmatch(text.casefold())) is not None and spelled[2] in _MONTHS:
        text = f"{spelled[3]}-{_MONTHS.index(spelled[2]) + 1:02}-{int(spelled[1]):02}"
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError:
        number = _number(text)
        return number if number is not None and number > 1e8 else None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def let_go(left: list[Facts]) -> None:
    """Give back the memory of columns that nobody uses any more, a little at a time where work is unhurried."""
    texts = [text for facts in left for column in (facts.title, facts.description) for text in column]
    left.clear()
    give_back(texts)
