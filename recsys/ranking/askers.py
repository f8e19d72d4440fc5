"""Users for whom candidates are found and ranked at once: a block.

A call into numpy costs microseconds however little it is given, so what is the same for all users of a block is done
for all of them in one call. What is computed for one user never depends on who else is in the block: sums run within a
user, or element by element, so that an answer made among others is, bit by bit, the one made alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
NEWEST = 20
"""Items of a history that are looked at, the newest."""


@dataclass(frozen=True, eq=False)
class Asker:
    """One user.

    Args:
        vector: float32 [dim + 1]; the user's vector, then the 1 by which items' priors count; None for a stranger.
        history: int64; rows of what the user met, newest last.
        now_s: the moment of asking, UTC seconds; what comes after it has no age yet.
        scenario: what the answer is for, "" for nothing in particular.
    """

    vector: Floats | None
    history: Rows
    now_s: float = 0.0
    scenario: str = ""


@dataclass(frozen=True, eq=False)
class Block:
    """Some users, and what they met last.

    Args:
        askers: the users.
        led: int64 [n]; rows of the newest `NEWEST` items of each history, newest first, one user's after another's.
        start: int64 [users + 1]; those of user i are `led[start[i]:start[i + 1]]`.
    """

    askers: Sequence[Asker]
    led: Rows
    start: Rows

    @classmethod
    def of(cls, *askers: Asker) -> Block:
        """A block of these users, at least one."""
        newest = [asker.history[: -NEWEST - 1 : -1] for asker in askers]
        return cls(askers, np.concatenate(newest), starts([len(of) for of in newest]))

    @cached_property
    def whose(self) -> Rows:
        """The user of each item of `led`, int64 [n]."""
        return np.repeat(np.arange(len(self.askers)), np.diff(self.start))

    @cached_property
    def turn(self) -> Rows:
        """How many newer items each item of `led` has before it, int64 [n]."""
        return np.arange(len(self.led)) - self.start.take(self.whose)


def falling(scores: Floats, start: Rows) -> Rows:
    """The places of some users' scores, those of each in the order of falling scores, ties by place: int64 [n].

    User, score and place are sorted as one number, which takes a fifth of the time of sorting user by user.

    Args:
        scores: float32 [n], none of them NaN; user i has `scores[start[i]:start[i + 1]]`.
        start: int64 [users + 1].
    """
    n_users = len(start) - 1
    rising = (np.float32(0) - scores).view(np.int32).astype(np.int64)  # a float's bits rise with it where it is > 0,
    rising ^= (rising >> 32) & 0x7FFFFFFF  # and fall where it is < 0
    bits = len(scores).bit_length()
    keys = (np.repeat(np.arange(n_users), np.diff(start)) << 32) + rising + (1 << 31)
    keys = (keys << bits) | np.arange(len(scores))
    keys.sort()
    places: Rows = keys & ((1 << bits) - 1)
    return places


def starts(lengths: Sequence[int] | Rows) -> Rows:
    """Where parts of these lengths begin that lie one after the other, and where the last one ends: int64 [n + 1]."""
    found = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=found[1:])
    return found
