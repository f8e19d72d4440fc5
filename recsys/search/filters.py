"""Which items a query may find at all: inverted lists of attribute values, prices, availability."""

from __future__ import annotations

from collections.abc import Mapping

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
