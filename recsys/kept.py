"""A bounded memory of what was asked for lately."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from features.pace import give_back

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key; past the cap, those not asked for longest go first.

    Two generations stand in for a list of ages: what is found in the older one moves to the younger, and when the
    younger is full it becomes the older, whose values go. So a value asked for among the last half of the cap stays,
    and a look costs one or two dictionary reads. What goes is given back four keys or values at a time, as one is kept,
    as thousands at once would take milliseconds. Threads may share one; at worst a value is not found.

    Args:
        cap: bytes of the values, or another measure, by the sizes they are kept with; no value is kept where it is 0.
    """

    def __init__(self, cap: int) -> None:
        self._half = cap // 2
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._leaving: list[object] = []
        self._size = 0

    def get(self, key: K) -> V | None:
        """The value, None where none is kept."""
        found = self._young.get(key)
        if found is not None:
            return found[0]
        found = self._old.get(key)
        if found is None:
            return None
        self.keep(key, *found)
        return found[0]

    def get_all(self, keys: Sequence[K]) -> list[V | None]:
        """As `get`, of several."""
        found = list(map(self._young.get, keys))
        return [self.get(key) if one is None else one[0] for key, one in zip(keys, found, strict=True)]

    def values(self) -> list[V]:
        """The values that are kept, about from the one asked for longest ago on; replaced ones may be there."""
        return [value for of in (self._old, self._young) for value, _ in of.values()]

    def let_go(self) -> None:
        """Keep nothing any more; given back a little at a time where work is unhurried."""
        left = [*self._leaving, *_all_of(self._old), *_all_of(self._young)]
        self._leaving, self._old, self._young, self._size = [], {}, {}, 0
        give_back(left)

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes."""
        if size > self._half:
            return
        before = self._young.get(key)
        self._size += size - (before[1] if before is not None else 0)
        self._young[key] = (value, size)
        del self._leaving[-4:]
        if self._size > self._half:
            self._leaving = _all_of(self._old)
            self._old, self._young, self._size = self._young, {}, 0


def _all_of(kept: dict[K, tuple[V, int]]) -> list[object]:
    return [*kept.keys(), *kept.values()]
