"""A bounded memory of what was asked for lately."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key; past the cap, those not asked for longest go first.

    Two generations stand in for a list of ages: what is found in the older one moves to the younger, and when the
    younger is full it becomes the older, whose values go. So a value asked for among the last half of the cap stays,
    and a look costs one or two dictionary reads.

    Args:
        cap: bytes of the values, by the sizes they are kept with; no value is kept where it is 0.
    """

    def __init__(self, cap: int) -> None:
        self._half = cap // 2
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
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

    def keys(self) -> list[K]:
        """The keys of the values that are kept, about from the one asked for last on."""
        return [*reversed(self._young), *(key for key in reversed(self._old) if key not in self._young)]

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes."""
        if size > self._half:
            return
        before = self._young.get(key)
        self._size += size - (before[1] if before is not None else 0)
        self._young[key] = (value, size)
        if self._size > self._half:
            self._old, self._young, self._size = self._young, {}, 0
