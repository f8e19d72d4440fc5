"""What Redis knows of users: the commands that ask for it, and what their answers say.

A state is some hundred small values, so what is made of each counts: whole columns are decoded at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from sys import intern
from typing import Any

import orjson

from serving.keys import Keys
from serving.memory import LiveState
from serving.recent import Recent

Asked = tuple[str, str]
"""A user, and the version whose published list is wanted, "" for none."""
Command = tuple[str | int, ...]


@dataclass(frozen=True)
class UserRead:
    """What one round trip says of a user: live state, its stamp, and the packed list published for them.

    A stamp is another one after each change of the state. It is read before the state is, so that where both change
    meanwhile it is the older of the two, and the state is taken for outdated rather than for new.
    """

    state: LiveState
    stamp: bytes | None
    published: bytes | None


def commands(keys: Keys, asked: Asked, recent_cap: int) -> list[Command]:
    """What asks for a user."""
    user_id, version = asked
    found: list[Command] = [
        ("GET", keys.stamp(user_id)),
        ("LRANGE", keys.recent(user_id), 0, recent_cap - 1),
        ("ZRANGE", keys.seen(user_id), 0, -1, "WITHSCORES"),
        ("ZRANGE", keys.bought(user_id), 0, -1, "WITHSCORES"),
        ("HGETALL", keys.profile(user_id)),
    ]
    return [*found, ("GET", keys.feed(version, user_id))] if version else found


def user_read(answers: Sequence[Any]) -> UserRead:
    """What the answers to `commands` say."""
    stamp, entries, seen, bought, profile = answers[:5]
    said = {name.decode(): tuple(orjson.loads(values)) for name, values in _pairs(profile)}
    state = LiveState(Recent.of_entries(reversed(entries)), _times(seen), _times(bought), said)
    return UserRead(state, stamp, answers[5] if len(answers) > 5 else None)


def _times(scored: Sequence[Any]) -> dict[str, float]:
    """Members of a sorted set with their scores."""
    if scored and not isinstance(scored[0], bytes):  # pairs, by RESP 3 or as a client of a cluster gives them
        scored = list(chain.from_iterable(scored))
    item_ids = map(intern, map(bytes.decode, scored[::2]))  # workers remember them, and users share them
    return dict(zip(item_ids, map(float, scored[1::2]), strict=True))


def _pairs(hashed: Mapping[bytes, bytes] | Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(hashed, Mapping):  # likewise
        return hashed.items()
    return zip(hashed[::2], hashed[1::2], strict=True)
