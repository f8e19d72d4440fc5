"""Which items a query may find at all: inverted lists of attribute values, prices, availability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.search.query import BadQuery, SearchQuery


def value_lists(members: Mapping[str, Mapping[str, list[int]]]) -> NDArray[np.int32]:
    """The rows of every attribute value, one list after the other, in the order of the attributes and their values.

    Args:
        members: attribute → value → rows, rising.
    """
    lists = [rows for _, by_value in sorted(members.items()) for _, rows in sorted(by_value.items())]
    return np.concatenate([np.zeros(0, dtype=np.int32), *(np.array(rows, dtype=np.int32) for rows in lists)])


class Filters:
    """The lists of a catalog.

    Args:
        counts: attribute → value → number of items, both in order.
        value_items: int32 [n]; see `value_lists`.
        prices: float32 [n_items]; NaN where unknown.
        available: bool [n_items].

    Raises:
        ValueError: counts and lists disagree.
    """

    def __init__(
        self,
        counts: Mapping[str, Mapping[str, int]],
        value_items: NDArray[np.int32],
        prices: NDArray[np.float32],
        available: NDArray[np.bool_],
    ) -> None:
        self._prices, self._available = prices, available
        self._gone = np.zeros(0, dtype=np.int64)
        self._lists: dict[str, dict[str, list[NDArray[np.int32]]]] = {}
        self._shown: dict[str, str] = {}
        start = 0
        for name, by_value in counts.items():
            lists = self._lists.setdefault(name.casefold(), {})
            self._shown.setdefault(name.casefold(), name)
            for value, n in by_value.items():
                lists.setdefault(value.casefold(), []).append(value_items[start : start + n])
                start += n
        if start != len(value_items):
            raise ValueError(f"lists must hold {start} rows as the counts say, they hold {len(value_items)}")

    @classmethod
    def amended(
        cls,
        base: Filters,
        *,
        before: Mapping[int, Mapping[str, Any]],
        now: Mapping[int, Mapping[str, Any] | None],
        available: NDArray[np.bool_],
        gone: NDArray[np.int64],
    ) -> Filters:
        """The lists with some items changed.

        Args:
            base: the lists as they were; they are not changed.
            before: row -> display data of each changed item that the lists know.
            now: row -> display data of each changed or new item; None for a removed one.
            available: bool [n_items] now.
            gone: int64; rows of the removed items, which no query finds.
        """
        amended = cls({}, np.zeros(0, dtype=np.int32), base._prices, available)
        amended._shown, amended._lists = dict(base._shown), dict(base._lists)
        prices = np.full(len(available), np.nan, dtype=np.float32)
        prices[: len(base._prices)] = base._prices
        left: dict[tuple[str, str], list[int]] = {}
        joined: dict[tuple[str, str], list[int]] = {}
        for row, shown in now.items():
            price = None if shown is None else shown["price"]
            prices[row] = np.nan if price is None else price
            for known, of in ((before.get(row), left), (shown, joined)):
                for name, values in {} if known is None else known["attributes"].items():
                    amended._shown.setdefault(name.casefold(), name)
                    for value in dict.fromkeys(values):
                        of.setdefault((name.casefold(), value.casefold()), []).append(row)
        for name in {name for name, _ in (*left, *joined)}:
            amended._lists[name] = dict(amended._lists.get(name, {}))
        for name, value in {**left, **joined}:
            lists = amended._lists[name].get(value, [])
            if without := left.get((name, value)):
                lists = [rows[~np.isin(rows, without)] for rows in lists]
            more = joined.get((name, value), [])
            amended._lists[name][value] = [*lists, np.array(more, dtype=np.int32)]
        amended._prices, amended._gone = prices, gone
        return amended

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names that can be filtered by."""
        return tuple(self._shown.values())

    def allowed(self, query: SearchQuery) -> NDArray[np.bool_]:
        """The items a query may find, bool [n_items].

        Raises:
            BadQuery: the shop has no such attribute, or no item has such a value.
        """
        allowed = np.array(self._available) if query.available_only else np.ones(len(self._available), dtype=np.bool_)
        allowed[self._gone] = False
        if query.allowed is not None:
            allowed &= query.allowed
        for name, values in query.filters.items():
            allowed &= self._having(name, values)
        for bound, holds in ((query.min_price, np.greater_equal), (query.max_price, np.less_equal)):
            if bound is not None:
                allowed &= holds(self._prices, np.float32(bound))  # a NaN price is on neither side
        return allowed

    def _having(self, name: str, values: tuple[str, ...]) -> NDArray[np.bool_]:
        """Items with one of the values."""
        lists = self._lists.get(name.casefold())
        if lists is None:
            known = ", ".join(self._shown.values()) or "none"
            raise BadQuery(f"filters.{name}", f"must be an attribute of this shop ({known})", name)
        if not values:
            raise BadQuery(f"filters.{name}", "must list at least one value", "[]")
        having = np.zeros(len(self._available), dtype=np.bool_)
        for value in values:
            rows = lists.get(value.casefold())
            if rows is None:
                raise BadQuery(f"filters.{name}", "must be a value that an item of this shop has", value)
            for listed in rows:
                having[listed] = True
        return having
